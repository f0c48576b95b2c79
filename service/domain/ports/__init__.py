"""The ports of the domain: the protocols that stores, mailers and hashers implement.

A store is a group of reads and a group of writes for each thing that it holds; each group has a file here.
"""

from service.domain.ports.hasher import Hasher
from service.domain.ports.mailer import Mailer
from service.domain.ports.results import Clock, Render, Snapshot, Written
from service.domain.ports.store import Store, TransactionRunner
from service.domain.ports.transaction import Transaction

__all__ = [
    "Clock",
    "Hasher",
    "Mailer",
    "Render",
    "Snapshot",
    "Store",
    "Transaction",
    "TransactionRunner",
    "Written",
]
