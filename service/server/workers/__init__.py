"""State that the workers of one gunicorn master share: numbers, connections and a page of metrics."""
