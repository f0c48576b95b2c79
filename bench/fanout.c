/*
 * fanout: many subscribers of one room, one publisher, and every delivery checked.
 *
 * All subscribers connect to a server on loopback, over WebSocket or as event streams (SSE over chunked HTTP/1.1). One
 * publisher, a WebSocket of its own, then sends numbered messages for some seconds. A message is done when the last subscriber
 * has it; so many may be under way at once (the window: 1 is lockstep). Each subscriber must see every number, once, in order.
 *
 * Prints a line of JSON when all are connected and the messages begin, and one when they are done: who reads both knows when
 * to look at the server's clock. Ends with 0 when it could measure, whatever was lost or doubled: the reader judges that. With
 * 2, and a sentence on stderr, when it could not.
 *
 *   --port N               of the server, on 127.0.0.1
 *   --kind websocket|sse   what subscribers speak
 *   --subscribers N
 *   --stalled N            further WebSocket subscribers that never read once they have joined (0)
 *   --window N             messages under way at once
 *   --seconds S            for how long messages are published
 *   --subscribe PATH       of the subscribers
 *   --publish PATH         of the publisher
 *   --header LINE          sent with every request; may stand several times
 *   --join TEXT            sent on every WebSocket once it is open
 *   --joined TEXT          a WebSocket is ready when a frame with this has come (when it is open)
 *   --hello TEXT           an event stream is ready when an event with this has come (when it is open)
 *   --message TEXT         what the publisher sends; `k=%` in it becomes `k=` and the number, and that is how it is found again
 *   --fill TEXT            sent by a stalled subscriber again and again until the server takes no more of it
 */

#define _GNU_SOURCE /* memmem */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    BUFFER_BYTES = 1 << 18, /* the largest frame or chunk; only what is used of it takes memory */
    MOST_IN_FLIGHT = 1024,
    MOST_HEADER_BYTES = 8192,
    EVENTS = 1024,
    STEP_US = 10, /* of the latencies that are told apart */
    STEPS = 1000000,
};

static const double SETTLE_S = 0.5;    /* between the last to be ready and the first message: who came is told by then */
static const double LATE_S = 0.1;      /* after the last delivery: a second copy comes behind the first */
static const double PATIENCE_S = 10.0; /* without any progress, then it gives up */
static const int FILLED_MS = 300;      /* a socket that takes nothing for so long is full */

struct connection {
    int fd;
    bool websocket;
    bool open;  /* the request was answered as it should */
    bool ready; /* what is published from now on must come here */
    char *buffer;
    size_t held;
    long next; /* number that must come next */
};

/* Latencies in steps; what is beyond the last one is in the last one. */
struct histogram {
    uint32_t counts[STEPS];
    long total;
};

/* A message under way. */
struct message {
    double sent_at;
    int missing;
};

static struct {
    int port, subscribers, stalled, window;
    double seconds;
    bool sse;
    const char *subscribe, *publish, *join, *joined, *hello, *message, *fill;
    char headers[MOST_HEADER_BYTES];
} asked = {.subscribers = 1, .window = 1, .seconds = 1, .subscribe = "/", .publish = "/"};

static int poller;
static struct connection publisher, *subscribers, *stalled;
static struct message in_flight[MOST_IN_FLIGHT];
static struct histogram each, last;
static int ready;
static long published, done, delivered, repeated, skipped, closed;
static double progress_at;

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(2);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void count(struct histogram *histogram, double seconds) {
    long step = (long)(seconds * 1e6 / STEP_US);
    histogram->counts[step < STEPS ? step : STEPS - 1]++;
    histogram->total++;
}

/* The least latency that so many percent do not exceed, in ms; -1 when nothing was counted. */
static double percentile_ms(const struct histogram *histogram, int percent) {
    long wanted = (histogram->total * percent + 99) / 100, seen = 0;
    for (long step = 0; histogram->total && step < STEPS; step++)
        if ((seen += histogram->counts[step]) >= wanted)
            return (double)(step + 1) * STEP_US / 1e3;
    return -1;
}

/* ---- sending ---- */

/* Send all of it; false when the socket has taken nothing for so long. */
static bool send_all(int fd, const char *data, size_t size, int patience_ms) {
    while (size > 0) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent >= 0) {
            data += sent;
            size -= (size_t)sent;
            continue;
        }
        struct pollfd writable = {.fd = fd, .events = POLLOUT};
        if (errno != EAGAIN || poll(&writable, 1, patience_ms) <= 0)
            return false;
    }
    return true;
}

/* A masked frame, as RFC 6455, 5.3 asks of a client. The key is zero: what must be the same for all servers costs nothing. */
static bool send_frame(int fd, int opcode, const char *payload, size_t size, int patience_ms) {
    static char frame[BUFFER_BYTES + 16];
    size_t head = 2;
    if (size > BUFFER_BYTES || size > UINT16_MAX)
        fail("%zu bytes are too many for a frame", size);
    frame[0] = (char)(0x80 | opcode);
    if (size < 126) {
        frame[1] = (char)(0x80 | size);
    } else {
        frame[1] = (char)(0x80 | 126);
        frame[2] = (char)(size >> 8);
        frame[3] = (char)(size & 255);
        head = 4;
    }
    memset(frame + head, 0, 4);
    memcpy(frame + head + 4, payload, size);
    return send_all(fd, frame, head + 4 + size, patience_ms);
}

static void send_text(int fd, const char *text) {
    if (!send_frame(fd, 1, text, strlen(text), (int)(PATIENCE_S * 1e3)))
        fail("the server does not take what is sent: %s", strerror(errno));
}

static void publish(long number) {
    static char text[BUFFER_BYTES];
    const char *mark = strstr(asked.message, "k=%");
    snprintf(text, sizeof text, "%.*sk=%ld%s", (int)(mark - asked.message), asked.message, number, mark + 3);
    in_flight[number % MOST_IN_FLIGHT] = (struct message){.sent_at = now(), .missing = asked.subscribers};
    send_text(publisher.fd, text);
}

/* ---- receiving ---- */

static void deliver(struct connection *connection, long number, double at) {
    if (number < connection->next) {
        repeated++; /* or out of order: then it was counted as skipped before */
        return;
    }
    if (number >= published)
        fail("message %ld came before it was sent", number);
    skipped += number - connection->next;
    connection->next = number + 1;
    delivered++;
    progress_at = at;
    struct message *message = &in_flight[number % MOST_IN_FLIGHT];
    count(&each, at - message->sent_at);
    if (--message->missing == 0) {
        count(&last, at - message->sent_at);
        done++;
    }
}

/* What one frame, or one chunk of an event stream, brought. */
static void take(struct connection *connection, const char *piece, size_t size, double at) {
    const char *end = piece + size;
    if (!connection->ready) {
        const char *sign = connection->websocket ? asked.joined : asked.hello;
        connection->ready = memmem(piece, size, sign, strlen(sign)) != NULL;
        ready += connection->ready;
    }
    if (connection == &publisher) {
        if (memmem(piece, size, "\"type\":\"error\"", 14))
            fail("the server refused: %.*s", (int)size, piece);
        return;
    }
    /* A chunk may hold several events, each whole: what is cut in two is not found, and counts as lost. */
    while ((piece = memmem(piece, (size_t)(end - piece), "k=", 2))) {
        long number = 0;
        const char *digit = piece += 2;
        while (digit < end && *digit >= '0' && *digit <= '9')
            number = number * 10 + (*digit++ - '0');
        if (digit > piece)
            deliver(connection, number, at);
        piece = digit;
    }
}

/* The answer to the request at the beginning of the buffer: how long its head is, 0 when it is not there as a whole. */
static size_t open_up(struct connection *connection) {
    char *end = memmem(connection->buffer, connection->held, "\r\n\r\n", 4);
    if (!end)
        return 0;
    if (strncmp(connection->buffer, connection->websocket ? "HTTP/1.1 101 " : "HTTP/1.1 200 ", 13) != 0)
        fail("the server refused: %.*s", (int)(end - connection->buffer), connection->buffer);
    connection->open = true;
    if (connection->websocket && asked.join)
        send_text(connection->fd, asked.join);
    if (!(connection->websocket ? asked.joined : asked.hello)) {
        connection->ready = true;
        ready++;
    }
    return (size_t)(end + 4 - connection->buffer);
}

/* One frame of a server (RFC 6455, 5.2): how many bytes it takes, 0 when it is not there as a whole, -1 when it closes. */
static ssize_t take_frame(struct connection *connection, char *data, size_t size, double at) {
    const unsigned char *head = (unsigned char *)data;
    size_t start = 2, length;
    if (size < 2)
        return 0;
    length = head[1] & 127;
    if (length >= 126) {
        size_t wide = length == 126 ? 2 : 8;
        if (size < 2 + wide)
            return 0;
        for (length = 0; start < 2 + wide; start++)
            length = length << 8 | head[start];
    }
    if (size - start < length)
        return 0;
    switch (head[0] & 15) {
    case 8:
        return -1;
    case 9:
        send_frame(connection->fd, 10, data + start, length, 1000);
        break;
    default:
        take(connection, data + start, length, at);
    }
    return (ssize_t)(start + length);
}

/* One chunk (RFC 9112, 7.1), with the same answers. */
static ssize_t take_chunk(struct connection *connection, char *data, size_t size, double at) {
    char *line_end = memmem(data, size, "\r\n", 2);
    if (!line_end)
        return 0;
    size_t length = strtoul(data, NULL, 16), start = (size_t)(line_end + 2 - data);
    if (length == 0)
        return -1;
    if (size < start + length + 2)
        return 0;
    if (memcmp(data + start + length, "\r\n", 2) != 0)
        fail("a chunk is not as long as it says: %.60s", data);
    take(connection, data + start, length, at);
    return (ssize_t)(start + length + 2);
}

/* Read what is there; false when the server has ended the connection. */
static bool receive(struct connection *connection) {
    ssize_t got = recv(connection->fd, connection->buffer + connection->held, BUFFER_BYTES - connection->held, 0);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    double at = now();
    connection->held += (size_t)got;
    size_t used = connection->open ? 0 : open_up(connection);
    while (connection->open) {
        char *rest = connection->buffer + used;
        size_t size = connection->held - used;
        ssize_t taken = connection->websocket ? take_frame(connection, rest, size, at) : take_chunk(connection, rest, size, at);
        if (taken < 0)
            return false;
        if (taken == 0)
            break;
        used += (size_t)taken;
    }
    connection->held -= used;
    memmove(connection->buffer, connection->buffer + used, connection->held);
    if (connection->held == BUFFER_BYTES)
        fail("a frame or chunk is larger than %d bytes", BUFFER_BYTES);
    return true;
}

/* Wait for what comes, no longer than that, and take it. */
static void serve(int timeout_ms) {
    static struct epoll_event events[EVENTS];
    int count = epoll_wait(poller, events, EVENTS, timeout_ms);
    for (int number = 0; number < count; number++) {
        struct connection *connection = events[number].data.ptr;
        if (receive(connection))
            continue;
        if (connection == &publisher)
            fail("the server ended the publisher's connection");
        if (!connection->ready)
            fail("the server ended a connection that was not ready yet");
        close(connection->fd);
        closed++;
    }
}

static void serve_for(double seconds) {
    for (double end = now() + seconds; now() < end;)
        serve(20);
}

static void wait_for_ready(int wanted) {
    for (double deadline = now() + PATIENCE_S; ready < wanted; serve(20))
        if (now() > deadline)
            fail("%d of %d connections are ready after %.0f s", ready, wanted, PATIENCE_S);
}

/* ---- connecting ---- */

static void open_connection(struct connection *connection, bool websocket, const char *path, bool reads) {
    static const char *const upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons((uint16_t)asked.port)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    char request[MOST_HEADER_BYTES + 1024];
    int on = 1, small = 4096;

    connection->websocket = websocket;
    connection->buffer = malloc(BUFFER_BYTES);
    connection->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connection->fd < 0 || !connection->buffer)
        fail("no socket: %s", strerror(errno));
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (!reads) /* else the system would take megabytes for it */
        setsockopt(connection->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(connection->fd, (struct sockaddr *)&server, sizeof server) < 0)
        fail("connect: %s", strerror(errno));
    int size = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s%s\r\n", path, asked.port,
                        websocket ? upgrade : "Accept: text/event-stream\r\n", asked.headers);
    if (size >= (int)sizeof request || !send_all(connection->fd, request, (size_t)size, 1000))
        fail("request: %s", strerror(errno));
    fcntl(connection->fd, F_SETFL, O_NONBLOCK);
    epoll_ctl(poller, EPOLL_CTL_ADD, connection->fd, &event);
}

/* Connect all subscribers; how long that took until the last was ready, in seconds. */
static double open_subscribers(void) {
    double began_at = now();
    for (int number = 0; number < asked.subscribers; number++) {
        open_connection(&subscribers[number], !asked.sse, asked.subscribe, true);
        if (number % 64 == 63)
            serve(0);
    }
    wait_for_ready(1 + asked.subscribers);
    return now() - began_at;
}

/* Connect those who will not read, and have the server write to each until its socket is full. */
static void open_stalled(void) {
    for (int number = 0; number < asked.stalled; number++)
        open_connection(&stalled[number], true, asked.subscribe, false);
    wait_for_ready(1 + asked.subscribers + asked.stalled);
    for (int number = 0; number < asked.stalled; number++) {
        epoll_ctl(poller, EPOLL_CTL_DEL, stalled[number].fd, NULL);
        while (asked.fill && send_frame(stalled[number].fd, 1, asked.fill, strlen(asked.fill), FILLED_MS))
            ;
    }
}

static int still_connected(const struct connection *connections, int size) {
    int connected = 0;
    for (int number = 0; number < size; number++) {
        struct tcp_info info = {0};
        socklen_t length = sizeof info;
        getsockopt(connections[number].fd, IPPROTO_TCP, TCP_INFO, &info, &length);
        connected += info.tcpi_state == TCP_ESTABLISHED;
    }
    return connected;
}

/* ---- the measurement ---- */

/* Publish for the time asked for and wait for the last delivery; how long that took, in seconds. */
static double measure(void) {
    double began_at = progress_at = now(), publish_until = began_at + asked.seconds;
    bool more = true;
    while ((more || done < published) && !closed && now() - progress_at < PATIENCE_S) {
        more = more && now() < publish_until;
        while (more && published - done < asked.window)
            publish(published++);
        serve(50);
    }
    return progress_at - began_at;
}

static void read_options(int count, char **words) {
    static const struct option names[] = {
        {"port", 1, 0, 'p'},    {"kind", 1, 0, 'k'},      {"subscribers", 1, 0, 'n'}, {"stalled", 1, 0, 'z'},
        {"window", 1, 0, 'w'},  {"seconds", 1, 0, 's'},   {"subscribe", 1, 0, 'g'},   {"publish", 1, 0, 'u'},
        {"header", 1, 0, 'H'},  {"join", 1, 0, 'j'},      {"joined", 1, 0, 'J'},      {"hello", 1, 0, 'e'},
        {"message", 1, 0, 'm'}, {"fill", 1, 0, 'f'},      {0},
    };
    for (int name; (name = getopt_long(count, words, "", names, NULL)) != -1;)
        switch (name) {
        case 'p': asked.port = atoi(optarg); break;
        case 'k': asked.sse = strcmp(optarg, "sse") == 0; break;
        case 'n': asked.subscribers = atoi(optarg); break;
        case 'z': asked.stalled = atoi(optarg); break;
        case 'w': asked.window = atoi(optarg); break;
        case 's': asked.seconds = atof(optarg); break;
        case 'g': asked.subscribe = optarg; break;
        case 'u': asked.publish = optarg; break;
        case 'j': asked.join = optarg; break;
        case 'J': asked.joined = optarg; break;
        case 'e': asked.hello = optarg; break;
        case 'm': asked.message = optarg; break;
        case 'f': asked.fill = optarg; break;
        case 'H':
            if (strlen(asked.headers) + strlen(optarg) + 3 > sizeof asked.headers)
                fail("too many headers");
            strcat(strcat(asked.headers, optarg), "\r\n");
            break;
        default: exit(2);
        }
    if (!asked.message || !strstr(asked.message, "k=%") || strlen(asked.message) > UINT16_MAX - 20)
        fail("a message needs a place for its number, `k=%%`, and at most 65,000 bytes");
    if (asked.window < 1 || asked.window > MOST_IN_FLIGHT || asked.subscribers < 1 || asked.stalled < 0)
        fail("the window is 1 to %d, subscribers 1 or more", MOST_IN_FLIGHT);
}

int main(int count, char **words) {
    read_options(count, words);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    poller = epoll_create1(0);
    subscribers = calloc((size_t)asked.subscribers, sizeof *subscribers);
    stalled = calloc((size_t)asked.stalled + 1, sizeof *stalled);
    if (poller < 0 || !subscribers || !stalled)
        fail("cannot start: %s", strerror(errno));

    open_connection(&publisher, true, asked.publish, true);
    wait_for_ready(1);
    double connect_s = open_subscribers();
    open_stalled();
    serve_for(SETTLE_S);
    printf("{\"connect_s\": %.4f}\n", connect_s);
    fflush(stdout);
    double seconds = measure();
    if (!closed)
        serve_for(LATE_S);

    long missing = published * asked.subscribers - delivered - skipped;
    printf("{\"delivered\": %ld, \"missing\": %ld, \"skipped\": %ld, \"repeated\": %ld, \"closed\": %ld, \"stalled\": %d, "
           "\"seconds\": %.6f, \"each_p50_ms\": %.2f, \"each_p99_ms\": %.2f, \"last_p50_ms\": %.2f, \"last_p99_ms\": %.2f}\n",
           delivered, missing, skipped, repeated, closed, still_connected(stalled, asked.stalled), seconds,
           percentile_ms(&each, 50), percentile_ms(&each, 99), percentile_ms(&last, 50), percentile_ms(&last, 99));
    return 0;
}
