/*
 * Load generator: subscribers and publishers of several protocols in one thread over epoll.
 *
 * It prints one JSON object: what was published, answered and delivered inside the measured window,
 * latencies counted from the moment each message was meant to be sent, the CPU and memory of the
 * processes named by --watch, and its own CPU, so that nobody takes its limit for the server's.
 *
 * Closed loop (no --rate): each publisher sends as soon as it was answered.
 * Open loop (--rate N): message n is due at start + n / N, whether the server keeps up or not.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    RECEIVE_BYTES = 1 << 20,
    MAX_BATCH = 1000, MAX_WATCHED = 64, MAX_PORTS = 16, MAX_EVENTS = 512,
    BUCKETS = 4096,
    /* consumptions that may wait for an answer before publishing pauses: deep enough to keep a
       server busy, shallow enough that a slow one is not measured by the length of its queue */
    UNANSWERED_CLAIMS = 2000,
};

enum protocol { SOCKETIO, NCHAN, NATS, HTTP };
static const char *const PROTOCOLS[] = {"socketio", "nchan", "nats", "http"};

enum state { CLOSED, CONNECTING, UPGRADING, OPENING, JOINING, SUBSCRIBING, READY };

/* Servers of one log: connections are shared out among them in turn. */
struct ports { int numbers[MAX_PORTS]; int count; };

struct connection {
    int fd;
    int number;
    int port;
    enum protocol protocol;
    enum state state;
    bool publishes;
    bool wants_write;
    uint32_t ack;        /* next acknowledgement number */
    int in_flight;       /* messages of the request that is not answered yet */
    uint64_t intended;   /* when that request was meant to be sent, µs */
    char *partial, *out; /* received without its end; not taken by the kernel yet */
    size_t partial_length, out_length, out_sent, out_size;
};

static struct {
    struct ports subscribe_at, publish_at;
    int subscribers, publishers, topics, batch, size, storms, burst;
    double rate, seconds, warmup, settle;
    uint64_t limit;
    bool consume;
    enum protocol subscribe, publish;
    int watched[MAX_WATCHED];
    int watched_count;
} options = {.topics = 1, .batch = 1, .size = 100, .burst = 64, .seconds = 3, .warmup = 1,
             .limit = 5000000, .subscribe = SOCKETIO, .publish = HTTP};

struct counters {
    uint64_t sent, answered, refused, delivered, claims, claims_answered, expected;
};

static struct counters total;
static struct connection *connections;
static int connection_count, ready_count, opening_count, next_to_open, closed_by_server;
static struct connection **idle; /* a ring: in turn, so that none is idle until it is closed */
static int idle_count, idle_first;
static int poller, timer;
static bool publishing, measuring;
static uint64_t measured_from, measured_to, due_from, due_count;
static uint64_t delivery_latency[BUCKETS], answer_latency[BUCKETS];
static char receive_buffer[RECEIVE_BYTES * 2];
static char *scratch;
static size_t scratch_size;

static _Noreturn void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("loadgen: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- latencies: buckets 1/64 apart, so that a percentile is right to 1.6 percent ---- */

static void record(uint64_t *buckets, uint64_t us) {
    int shift = us < 128 ? 0 : 63 - __builtin_clzll(us) - 6;
    size_t bucket = (size_t)shift * 64 + (us >> shift);
    buckets[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
}

static uint64_t bucket_top(size_t bucket) {
    if (bucket < 128) return bucket;
    size_t shift = bucket / 64 - 1;
    return ((bucket - shift * 64 + 1) << shift) - 1;
}

static void print_percentiles(const char *name, const uint64_t *buckets) {
    static const double WANTED[] = {0.5, 0.9, 0.99, 0.999, 1.0};
    static const char *const NAMES[] = {"p50", "p90", "p99", "p999", "max"};
    uint64_t count = 0;
    for (size_t i = 0; i < BUCKETS; i++) count += buckets[i];
    printf("\"%s\": {\"count\": %lu", name, count);
    for (size_t w = 0; w < 5 && count; w++) {
        uint64_t rank = (uint64_t)((double)count * WANTED[w] + 0.999999), seen = 0;
        size_t i = 0;
        while (i < BUCKETS && (seen += buckets[i]) < rank) i++;
        printf(", \"%s_us\": %lu", NAMES[w], bucket_top(i));
    }
    printf("}, ");
}

/* ---- the watched processes ---- */

static FILE *open_process(int i, const char *name) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", options.watched[i], name);
    FILE *file = fopen(path, "r");
    if (!file) fail("process %d is gone", options.watched[i]);
    return file;
}

static double watched_cpu(void) {
    unsigned long ticks = 0, user, system;
    for (int i = 0; i < options.watched_count; i++) {
        char line[1024] = ")";
        FILE *file = open_process(i, "stat");
        /* the name, in parentheses, may hold anything: fields are counted from its end */
        if (!fgets(line, sizeof line, file) ||
            sscanf(strrchr(line, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                   &user, &system) != 2)
            fail("the times of process %d are not readable", options.watched[i]);
        fclose(file);
        ticks += user + system;
    }
    return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static long watched_memory_kb(void) {
    long kilobytes = 0;
    for (int i = 0; i < options.watched_count; i++) {
        char line[256];
        FILE *file = open_process(i, "status");
        while (fgets(line, sizeof line, file))
            if (!strncmp(line, "VmRSS:", 6)) kilobytes += atol(line + 6);
        fclose(file);
    }
    return kilobytes;
}

static double own_cpu(void) {
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

/* ---- sending ---- */

static void watch_connection(struct connection *c, int operation, bool write) {
    struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0u), .data.ptr = c};
    if (epoll_ctl(poller, operation, c->fd, &event)) fail("epoll_ctl: %s", strerror(errno));
    c->wants_write = write;
}

static void flush(struct connection *c) {
    while (c->out_sent < c->out_length) {
        ssize_t n = send(c->fd, c->out + c->out_sent, c->out_length - c->out_sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) return; /* the read side sees why */
        c->out_sent += (size_t)n;
    }
    bool rest = c->out_sent < c->out_length;
    if (!rest) c->out_sent = c->out_length = 0;
    if (rest != c->wants_write) watch_connection(c, EPOLL_CTL_MOD, rest);
}

static char *reserve(struct connection *c, size_t length) {
    if (c->out_length + length > c->out_size) {
        c->out_size = (c->out_length + length) * 2;
        if (!(c->out = realloc(c->out, c->out_size))) fail("out of memory");
    }
    char *place = c->out + c->out_length;
    c->out_length += length;
    return place;
}

static void send_bytes(struct connection *c, const char *bytes, size_t length) {
    memcpy(reserve(c, length), bytes, length);
    flush(c);
}

/* One frame, masked as RFC 6455 §5.3 asks of clients; no message of ours needs the 64-bit length. */
static void send_frame(struct connection *c, int opcode, const char *payload, size_t length) {
    size_t header = length < 126 ? 6 : 8;
    unsigned char *frame = (unsigned char *)reserve(c, header + length);
    uint32_t key = 0x5bd1e995u * (uint32_t)(c->number + 1);
    frame[0] = (unsigned char)(0x80 | opcode);
    if (length > 65535) fail("a frame of %zu bytes is too long", length);
    frame[1] = (unsigned char)(0x80 | (length < 126 ? length : 126));
    frame[2] = (unsigned char)(length >> 8); /* the key overwrites these in a short frame */
    frame[3] = (unsigned char)length;
    memcpy(frame + header - 4, &key, 4);
    for (size_t i = 0; i < length; i++)
        frame[header + i] = (unsigned char)payload[i] ^ frame[header - 4 + (i & 3)];
    flush(c);
}

static void send_format(struct connection *c, bool framed, const char *format, ...) {
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof text) fail("a line is too long");
    if (framed) send_frame(c, 1, text, (size_t)length);
    else send_bytes(c, text, (size_t)length);
}
#define send_line(c, ...) send_format(c, false, __VA_ARGS__)
#define send_text(c, ...) send_format(c, true, __VA_ARGS__)

/* ---- publishing ---- */

/* A publish: its message is a JSON string of --size bytes that begins with ~ and the due time. */
static size_t write_body(char *body, size_t room, struct connection *c, uint64_t due) {
    uint64_t n = total.sent++;
    uint64_t topic = n % (uint64_t)options.topics, subscribers = (uint64_t)options.subscribers;
    /* subscriber i is on topic i modulo the topics: the first ones may have one more */
    total.expected += subscribers / (uint64_t)options.topics +
                      (topic < subscribers % (uint64_t)options.topics);
    int length = snprintf(body, room,
                          "{\"topic\":\"bench-%lu\",\"message_id\":\"m%d-%lu\","
                          "\"message\":\"~%016lu%0*d\",\"producer\":\"bench-%d\"}",
                          topic, getpid(), n, due, options.size - 19, 0, c->number);
    if (length < 0 || (size_t)length >= room) fail("--size is too large");
    return (size_t)length;
}

static void post(struct connection *c, const char *path, const char *body, size_t length) {
    char head[256];
    int head_length = snprintf(head, sizeof head,
                               "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                               "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                               path, c->port, length);
    memcpy(reserve(c, (size_t)head_length), head, (size_t)head_length);
    send_bytes(c, body, length);
}

static void publish(struct connection *c, uint64_t due) {
    uint64_t topic = total.sent % (uint64_t)options.topics;
    size_t length = 0;
    char path[64];
    c->intended = due;
    c->in_flight = options.batch;
    if (options.batch > 1) scratch[length++] = '[';
    if (c->protocol == SOCKETIO) length = (size_t)sprintf(scratch, "42%u[\"publish\",", c->ack++);
    for (int i = 0; i < options.batch; i++) {
        if (i) scratch[length++] = ',';
        length += write_body(scratch + length, scratch_size - length, c, due);
    }
    if (options.batch > 1 || c->protocol == SOCKETIO) scratch[length++] = ']';
    switch (c->protocol) {
    case SOCKETIO: send_frame(c, 1, scratch, length); break;
    case HTTP: post(c, options.batch > 1 ? "/publish/batch" : "/publish", scratch, length); break;
    case NCHAN:
        snprintf(path, sizeof path, "/pub?id=bench-%lu", topic);
        post(c, path, scratch, length);
        break;
    case NATS:
        memcpy(scratch + length, "\r\n", 2);
        length += 2;
        snprintf(path, sizeof path, "PUB bench-%lu %zu\r\n", topic, length - 2);
        memcpy(reserve(c, strlen(path)), path, strlen(path));
        send_bytes(c, scratch, length);
    }
}

/* Give idle publishers what is due. In the open loop a message keeps its due time however late. */
static void publish_due(void) {
    while (publishing && idle_count > 0 && total.sent < options.limit) {
        if (total.claims - total.claims_answered > UNANSWERED_CLAIMS) return;
        uint64_t now = now_us(), due = now;
        if (options.rate > 0) {
            due = due_from + (uint64_t)((double)due_count * 1e6 / options.rate);
            if (due > now) {
                struct itimerspec at = {.it_value = {(time_t)(due / 1000000),
                                                     (long)(due % 1000000) * 1000}};
                timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
                return;
            }
            due_count++;
        }
        idle_count--;
        publish(idle[idle_first++ % options.publishers], due);
    }
}

static void became_idle(struct connection *c) {
    idle[(idle_first + idle_count++) % options.publishers] = c;
}

static void answered(struct connection *c, bool ok, const char *answer, size_t length) {
    if (!ok && !total.refused++)
        fprintf(stderr, "loadgen: first refusal: %.*s\n", (int)(length < 300 ? length : 300), answer);
    if (ok) total.answered += (uint64_t)c->in_flight;
    if (measuring && c->intended >= measured_from) record(answer_latency, now_us() - c->intended);
    c->in_flight = 0;
    became_idle(c);
}

/* ---- receiving ---- */

static void claim(struct connection *c, const char *frame, size_t length) {
    char id[64] = "";
    unsigned long sequence = 0;
    const char *at = memmem(frame, length, "\"message_id\":", 13);
    const char *number = memmem(frame, length, "\"sequence\":", 11);
    if (!at || !number || sscanf(at + 13, " \"%63[^\"]", id) != 1 ||
        sscanf(number + 11, " %lu", &sequence) != 1)
        fail("a delivery without message_id and sequence: %.*s", (int)length, frame);
    total.claims++;
    send_text(c, "42%u[\"consumed\",{\"consumer\":\"consumer-%d\",\"topic\":\"bench-%d\","
                 "\"message_id\":\"%s\",\"sequence\":%lu}]",
              c->ack++, c->number, c->number % options.topics, id, sequence);
}

static void delivered(struct connection *c, const char *payload, size_t length) {
    total.delivered++;
    if (options.rate > 0) {
        const char *stamp = memchr(payload, '~', length);
        if (!stamp || stamp + 17 > payload + length) fail("a delivery without its time");
        uint64_t due = 0;
        for (int i = 1; i <= 16; i++) due = due * 10 + (uint64_t)(stamp[i] - '0');
        if (measured_from && due >= measured_from && due < measured_to)
            record(delivery_latency, now_us() - due);
    }
    if (options.consume && publishing) claim(c, payload, length);
}

static void became_ready(struct connection *c) {
    c->state = READY;
    ready_count++;
    opening_count--;
    if (c->publishes) became_idle(c);
}

static void socketio_text(struct connection *c, const char *text, size_t length) {
    if (length >= 12 && !memcmp(text, "42[\"message\"", 12)) {
        delivered(c, text, length);
    } else if (length >= 2 && text[0] == '4' && text[1] == '3') {
        bool ok = memmem(text, length, "\"ok\"", 4);
        if (!ok && !c->publishes) fail("refused: %.*s", (int)length, text);
        if (c->state == SUBSCRIBING) became_ready(c);
        else if (c->publishes) answered(c, ok, text, length);
        else total.claims_answered++;
    } else if (length >= 1 && text[0] == '2') {
        send_text(c, "3");
    } else if (length >= 1 && text[0] == '0' && c->state == OPENING) {
        c->state = JOINING;
        send_text(c, "40");
    } else if (length >= 2 && !memcmp(text, "40", 2) && c->state == JOINING) {
        if (c->publishes) return became_ready(c);
        c->state = SUBSCRIBING;
        send_text(c, "42%u[\"subscribe\",{\"consumer\":\"consumer-%d\",\"topics\":[\"bench-%d\"]}]",
                  c->ack++, c->number, c->number % options.topics);
    } else if (length >= 2 && !memcmp(text, "44", 2)) {
        fail("the server refused a connection: %.*s", (int)length, text);
    }
}

/* Each reader below takes one whole unit off the front; 0: its end has not come yet. */

static size_t read_frame(struct connection *c, const char *bytes, size_t length) {
    const unsigned char *b = (const unsigned char *)bytes;
    if (length < 2) return 0;
    size_t header = 2, payload = b[1] & 0x7f;
    if (payload >= 126) {
        header = payload == 126 ? 4 : 10;
        if (length < header) return 0;
        payload = 0;
        for (size_t i = 2; i < header; i++) payload = payload << 8 | b[i];
    }
    if (!(b[0] & 0x80) || b[0] & 0x70 || b[1] & 0x80)
        fail("a fragmented, compressed or masked frame, which nobody asked for");
    if (payload > RECEIVE_BYTES / 2) fail("a frame of %zu bytes", payload);
    if (length < header + payload) return 0;
    int opcode = b[0] & 0x0f;
    if (opcode == 9) send_frame(c, 10, bytes + header, payload);
    else if (opcode <= 2 && c->protocol == SOCKETIO) socketio_text(c, bytes + header, payload);
    else if (opcode <= 2) delivered(c, bytes + header, payload);
    return header + payload;
}

static size_t read_http(struct connection *c, const char *bytes, size_t length) {
    const char *end = memmem(bytes, length, "\r\n\r\n", 4);
    if (!end) return 0;
    size_t head = (size_t)(end - bytes) + 4, body = 0;
    int status = 0;
    if (sscanf(bytes, "HTTP/1.1 %d", &status) != 1) fail("not HTTP/1.1: %.*s", 100, bytes);
    if (c->state == UPGRADING) {
        if (status != 101) fail("no upgrade: %.*s", (int)length, bytes);
        c->state = OPENING;
        if (c->protocol == NCHAN) became_ready(c);
        return head;
    }
    bool sized = false;
    for (const char *line = strstr(bytes, "\r\n"); line && line < end; line = strstr(line + 2, "\r\n"))
        if (!strncasecmp(line + 2, "content-length:", 15)) body = strtoul(line + 17, NULL, 10), sized = true;
    if (!sized) fail("an answer without Content-Length: %.*s", (int)head, bytes);
    if (length < head + body) return 0;
    answered(c, status / 100 == 2, bytes, head + body);
    return head + body;
}

static size_t read_nats(struct connection *c, const char *bytes, size_t length) {
    const char *end = memchr(bytes, '\n', length);
    if (!end) return 0;
    size_t line = (size_t)(end - bytes) + 1;
    if (!strncmp(bytes, "MSG ", 4)) {
        const char *number = end;
        while (number[-1] != ' ') number--;
        size_t payload = strtoul(number, NULL, 10);
        if (length < line + payload + 2) return 0;
        delivered(c, bytes + line, payload);
        return line + payload + 2;
    }
    if (!strncmp(bytes, "INFO", 4) && c->state == OPENING) {
        c->state = SUBSCRIBING;
        send_line(c, "CONNECT {\"verbose\":%s,\"pedantic\":false,\"name\":\"bench\",\"lang\":\"c\","
                       "\"version\":\"1\",\"protocol\":1}\r\n", c->publishes ? "true" : "false");
        if (!c->publishes) send_line(c, "SUB bench-%d 1\r\n", c->number % options.topics);
        send_line(c, "PING\r\n");
    } else if (!strncmp(bytes, "PONG", 4) && c->state == SUBSCRIBING) {
        became_ready(c);
    } else if (!strncmp(bytes, "PING", 4)) {
        send_line(c, "PONG\r\n");
    } else if (!strncmp(bytes, "+OK", 3) && c->in_flight) {
        answered(c, true, bytes, line);
    } else if (!strncmp(bytes, "-ERR", 4)) {
        fail("the server says: %.*s", (int)line, bytes);
    }
    return line;
}

static size_t read_unit(struct connection *c, const char *bytes, size_t length) {
    if (c->protocol == NATS) return read_nats(c, bytes, length);
    if (c->protocol == HTTP || c->state == UPGRADING || (c->publishes && c->protocol == NCHAN))
        return read_http(c, bytes, length);
    return read_frame(c, bytes, length);
}

/* ---- connections ---- */

static void close_connection(struct connection *c) {
    close(c->fd);
    c->fd = -1;
    if (c->state != CLOSED) --*(c->state == READY ? &ready_count : &opening_count);
    c->state = CLOSED;
    c->partial_length = c->out_length = c->out_sent = 0;
}

static void open_connection(struct connection *c) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)c->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) fail("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
    c->state = CONNECTING;
    opening_count++;
    watch_connection(c, EPOLL_CTL_ADD, true);
}

static void connected(struct connection *c) {
    int problem = 0;
    socklen_t size = sizeof problem;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &problem, &size);
    if (problem) fail("connect: %s", strerror(problem));
    watch_connection(c, EPOLL_CTL_MOD, false);
    if (c->protocol == NATS) {
        c->state = OPENING; /* the server speaks first */
    } else if (c->publishes && c->protocol != SOCKETIO) {
        became_ready(c);
    } else {
        char path[96] = "/socket.io/?EIO=4&transport=websocket";
        if (c->protocol == NCHAN)
            snprintf(path, sizeof path, "/sub?id=bench-%d", c->number % options.topics);
        c->state = UPGRADING;
        send_line(c, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\nSec-WebSocket-Key: bG9hZC1nZW5lcmF0b3ItMQ==\r\n"
                       "Sec-WebSocket-Version: 13\r\n\r\n", path, c->port);
    }
}

static void receive(struct connection *c) {
    size_t length = c->partial_length;
    if (length) memcpy(receive_buffer, c->partial, length);
    ssize_t n = recv(c->fd, receive_buffer + length, RECEIVE_BYTES, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        if (c->publishes || c->state != READY) fail("the server closed a connection it must keep");
        closed_by_server++;
        close_connection(c);
        return;
    }
    length += (size_t)n;
    receive_buffer[length] = 0; /* the text parsers stop here at the latest */
    size_t used = 0, unit;
    while (used < length && (unit = read_unit(c, receive_buffer + used, length - used))) used += unit;
    c->partial_length = length - used;
    if (c->partial_length) {
        if (!(c->partial = realloc(c->partial, c->partial_length))) fail("out of memory");
        memcpy(c->partial, receive_buffer + used, c->partial_length);
    }
}

/* ---- the loop ---- */

static bool all_ready(void) { return ready_count == connection_count; }
static bool limit_reached(void) { return total.sent >= options.limit; }
static bool settled(void) {
    return idle_count == options.publishers && total.delivered >= total.expected &&
           total.claims_answered == total.claims;
}

/* Turn until the time or until `done` says so. */
static bool run(double seconds, bool (*done)(void)) {
    struct epoll_event events[MAX_EVENTS];
    uint64_t deadline = now_us() + (uint64_t)(seconds * 1e6);
    for (;;) {
        if (done && done()) return true;
        uint64_t now = now_us();
        if (now >= deadline) return false;
        while (next_to_open < connection_count && opening_count < options.burst)
            open_connection(&connections[next_to_open++]);
        publish_due();
        int wait = (int)((deadline - now + 999) / 1000);
        int count = epoll_wait(poller, events, MAX_EVENTS, wait < 50 ? wait : 50);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            uint64_t ticks;
            if (!c) {
                if (read(timer, &ticks, sizeof ticks) < 0 && errno != EAGAIN) fail("timer");
            } else if (c->state == CONNECTING) {
                connected(c);
            } else if (c->state != CLOSED) {
                if (events[i].events & EPOLLOUT) flush(c);
                if (events[i].events & ~(uint32_t)EPOLLOUT) receive(c);
            }
        }
    }
}

static void open_all(double seconds) {
    if (!run(seconds, all_ready))
        fail("%d of %d connections were ready after %.0f s", ready_count, connection_count, seconds);
}

/* Every subscriber is cut off at once and comes back at once; how long until the last is back. */
static double storm(void) {
    for (int i = 0; i < options.subscribers; i++) close_connection(&connections[i]);
    uint64_t from = now_us();
    for (int i = 0; i < options.subscribers; i++) open_connection(&connections[i]);
    open_all(20);
    return (double)(now_us() - from) / 1e6;
}

static void set_up(void) {
    connection_count = options.subscribers + options.publishers;
    connections = calloc((size_t)connection_count + 1, sizeof *connections);
    idle = calloc((size_t)options.publishers + 1, sizeof(struct connection *));
    scratch_size = (size_t)options.batch * ((size_t)options.size + 256) + 256;
    scratch = malloc(scratch_size);
    if (!connections || !idle || !scratch) fail("out of memory");
    for (int i = 0; i < connection_count; i++) {
        bool publishes = i >= options.subscribers;
        const struct ports *at = publishes ? &options.publish_at : &options.subscribe_at;
        connections[i] = (struct connection){
            .fd = -1, .number = i, .publishes = publishes,
            .port = at->numbers[(publishes ? i - options.subscribers : i) % at->count],
            .protocol = publishes ? options.publish : options.subscribe};
    }
    poller = epoll_create1(0);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (poller < 0 || timer < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event)) fail("epoll");
}

static void measure(void) {
    long memory_before = watched_memory_kb();
    double cpu_before = watched_cpu();
    uint64_t from = now_us();
    open_all(60);
    double connect_seconds = (double)(now_us() - from) / 1e6;
    if (options.settle > 0) run(options.settle, NULL);
    printf("{\"connect_seconds\": %.3f, \"connect_cpu_seconds\": %.3f, ", connect_seconds,
           watched_cpu() - cpu_before);
    printf("\"memory_before_kb\": %ld, \"memory_after_kb\": %ld, ", memory_before, watched_memory_kb());

    cpu_before = watched_cpu();
    printf("\"storm_seconds\": [");
    for (int i = 0; i < options.storms; i++) printf("%s%.3f", i ? ", " : "", storm());
    printf("], \"storm_cpu_seconds\": %.3f, ", watched_cpu() - cpu_before);

    publishing = options.publishers > 0;
    due_from = now_us();
    run(options.warmup, limit_reached);
    struct counters start = total;
    cpu_before = watched_cpu();
    double own_before = own_cpu();
    measured_from = now_us();
    measured_to = UINT64_MAX;
    measuring = true;
    run(options.seconds, limit_reached);
    measuring = false;
    measured_to = now_us();
    struct counters end = total;
    double elapsed = (double)(measured_to - measured_from) / 1e6;
    double cpu = watched_cpu() - cpu_before, own = own_cpu() - own_before;
    publishing = false;
    bool complete = !options.publishers || run(5, settled);
    printf("\"elapsed_seconds\": %.6f, \"cpu_seconds\": %.3f, \"generator_cpu_seconds\": %.3f, ",
           elapsed, cpu, own);
    printf("\"published\": %lu, \"delivered\": %lu, \"consumed\": %lu, ",
           end.answered - start.answered, end.delivered - start.delivered,
           end.claims_answered - start.claims_answered);
    print_percentiles("delivery_latency", delivery_latency);
    print_percentiles("answer_latency", answer_latency);
    printf("\"refused\": %lu, \"closed_by_server\": %d, \"complete\": %s, \"missing\": %ld}\n",
           total.refused, closed_by_server, complete ? "true" : "false",
           (long)(total.expected - total.delivered));
}

static enum protocol parse_protocol(const char *name) {
    for (int i = 0; i < 4; i++)
        if (!strcmp(name, PROTOCOLS[i])) return (enum protocol)i;
    fail("no protocol %s", name);
}

static void parse_ports(struct ports *ports, char *list) {
    ports->count = 0;
    for (char *port = strtok(list, ","); port; port = strtok(NULL, ",")) {
        int number = atoi(port);
        if (number <= 0 || number > 65535 || ports->count == MAX_PORTS)
            fail("an option is missing or out of range: port %s", port);
        ports->numbers[ports->count++] = number;
    }
}

static void parse_watched(char *list) {
    for (char *pid = strtok(list, ","); pid && options.watched_count < MAX_WATCHED;
         pid = strtok(NULL, ","))
        options.watched[options.watched_count++] = atoi(pid);
}

static void parse_options(int count, char **arguments) {
    static const struct option NAMES[] = {
        {"subscribers", 1, 0, 0}, {"publishers", 1, 0, 0}, {"topics", 1, 0, 0},
        {"batch", 1, 0, 0}, {"size", 1, 0, 0}, {"storms", 1, 0, 0}, {"burst", 1, 0, 0},
        {"rate", 1, 0, 'n'}, {"seconds", 1, 0, 'n'}, {"warmup", 1, 0, 'n'}, {"settle", 1, 0, 'n'},
        {"subscribe", 1, 0, 's'}, {"publish", 1, 0, 'p'}, {"watch", 1, 0, 'w'},
        {"limit", 1, 0, 'l'}, {"consume", 0, 0, 'c'}, {"port", 1, 0, 'a'}, {"publish-port", 1, 0, 'b'},
        {0, 0, 0, 0}};
    int *const INTEGERS[] = {&options.subscribers, &options.publishers, &options.topics,
                             &options.batch, &options.size, &options.storms, &options.burst};
    double *const NUMBERS[] = {&options.rate, &options.seconds, &options.warmup, &options.settle};
    int at = 0;
    for (int kind; (kind = getopt_long(count, arguments, "", NAMES, &at)) != -1;) {
        switch (kind) {
        case 0: *INTEGERS[at] = atoi(optarg); break;
        case 'n': *NUMBERS[at - 7] = atof(optarg); break;
        case 's': options.subscribe = parse_protocol(optarg); break;
        case 'p': options.publish = parse_protocol(optarg); break;
        case 'w': parse_watched(optarg); break;
        case 'l': options.limit = strtoul(optarg, NULL, 10); break;
        case 'c': options.consume = true; break;
        case 'a': parse_ports(&options.subscribe_at, optarg); break;
        case 'b': parse_ports(&options.publish_at, optarg); break;
        default: exit(2);
        }
    }
    if (!options.publish_at.count) options.publish_at = options.subscribe_at;
    if (!options.subscribe_at.count || options.subscribers < 0 || options.publishers < 0 ||
        options.topics < 1 || options.batch < 1 || options.batch > MAX_BATCH ||
        options.size < 20 || options.size > 1000 || options.burst < 1)
        fail("an option is missing or out of range");
    if (options.batch > 1 && options.publish != HTTP) fail("--batch needs --publish http");
}

int main(int count, char **arguments) {
    parse_options(count, arguments);
    set_up();
    measure();
}
