/* The load of a gap run and its probe: UDP in many flows at a fixed rate, and one flow at 1 kHz beside it.
 *
 *   load send INTERFACE GATEWAY-MAC TO FROM FLOWS OPENING-RATE RATE
 *   load receive ADDRESS FLOWS RECORD
 *
 * send opens FLOWS flows from address FROM and those after it (one datagram of each, OPENING-RATE a second), says "ready",
 * and goes on with RATE datagrams a second, a flow after the other, in bursts each millisecond; with each burst goes a
 * probe. What a stall held up goes out at twice the rate; no probe is left out. receive counts the datagrams by their
 * numbers, sees whether a flow's source ever changes, and notes number and time of arrival of each probe: 64-bit words,
 * appended to RECORD when asked to. Times are CLOCK_MONOTONIC. Each answers a command (a line) with a line of JSON:
 *
 *   send:    report           sent so far, in the steady part
 *   receive: report           received, repeated, lost (numbers overtaken by so many that they will not come), changed sources
 *            passed NS        answered when a probe that was sent at NS or later has arrived, and when the first such one did
 *            flush            the record is written
 *   both:    finish           as report, and the end; so is the end of the input
 */
#include "../packets.h"

#include <poll.h>

#define LOAD_PORT 40000
#define PROBE_PORT 7002
#define PROBE_FROM_PORT 1000    /* below those of the load */
#define FLOWS_PER_ADDRESS 50000
#define FLOWS_MAX 1000000
#define FRAME_BYTES 64
#define PAYLOAD_BYTES 16        /* time and number; the rest is zero */
#define TICK_NS 1000000ull
#define NUMBERS_MAX (1ull << 27)        /* more than three hours at 10,000 a second */
#define PAIRS_MAX (1 << 16)     /* of the record in memory */
#define OVERTAKEN 256           /* a number overtaken by so many is lost; one that comes later all the same is taken back */

static _Noreturn void die(const char *what) { fprintf(stderr, "%s\n", what); exit(1); }

/* The next command, or NULL if there is none; "finish" at the end of the input. */
static char *command(void) {
    static char text[256], line[256];
    static size_t length;
    struct pollfd in = {0, POLLIN, 0};
    char *end = memchr(text, '\n', length);
    if (!end) {
        if (poll(&in, 1, 0) <= 0) return NULL;
        ssize_t n = read(0, text + length, sizeof text - length);
        if (n <= 0) return "finish";
        length += n;
        end = memchr(text, '\n', length);
        if (!end && length == sizeof text) die("a command is too long");
        if (!end) return NULL;
    }
    size_t used = end - text;
    memcpy(line, text, used);
    line[used] = 0;
    length -= used + 1;
    memmove(text, end + 1, length);
    return line;
}

static void say(const char *event) {
    printf("{\"event\": \"%s\"}\n", event);
    fflush(stdout);
}

/* -- sending */

static int link_socket;
static struct batch *frames;
static uint32_t first_address;
static uint64_t flows;

/* The next *count* datagrams of the load, from *number* on; at most BATCH. */
static void send_load(uint64_t number, int count) {
    for (int i = 0; i < count; i++) {
        uint64_t flow = (number + i) % flows;
        stamp(frames->frames[i], first_address + flow / FLOWS_PER_ADDRESS, 1024 + flow % FLOWS_PER_ADDRESS, FRAME_BYTES,
              now_ns(), number + i);
    }
    transmit(link_socket, frames, count);
}

static void wait_until(uint64_t at) {
    struct timespec t = {at / 1000000000ull, at % 1000000000ull};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* Datagrams at *rate* from *number* on, until *until* (or a command ends it); returns the next number. */
static uint64_t paced(uint64_t number, uint64_t until, uint64_t rate, struct batch *probe, uint64_t *probes) {
    uint64_t start = now_ns(), sent = 0, last = 0;
    for (uint64_t tick = 0; number < until; tick++) {
        uint64_t at = start + tick * TICK_NS;
        /* all at once would be more than a port of a switch takes */
        wait_until(at < last + TICK_NS / 2 ? last + TICK_NS / 2 : at);
        last = now_ns();
        if (probe) {
            stamp(probe->frames[0], first_address, PROBE_FROM_PORT, FRAME_BYTES, now_ns(), (*probes)++);
            transmit(link_socket, probe, 1);
        }
        uint64_t due = (tick + 1) * TICK_NS * rate / 1000000000ull - sent;
        if (due > until - number) due = until - number;
        for (uint64_t done = 0; done < due;) {
            int n = due - done > BATCH ? BATCH : due - done;
            send_load(number, n);
            number += n;
            sent += n;
            done += n;
        }
        char *line = command();
        if (!line) continue;
        printf("{\"event\": \"%s\", \"sent\": %lu, \"probes\": %lu}\n", strcmp(line, "finish") ? "report" : "result", sent, *probes);
        fflush(stdout);
        if (!strcmp(line, "finish")) exit(0);
    }
    return number;
}

static struct batch *new_frames(const unsigned char *gateway, const unsigned char *own, uint32_t to, int port) {
    struct batch *b = new_batch();
    for (int i = 0; i < BATCH; i++) {
        prepare(b->frames[i], gateway, own, to, port, FRAME_BYTES);
        b->vectors[i].iov_len = FRAME_BYTES;
    }
    return b;
}

static void send_side(char **a) {
    unsigned char gateway[6], own[6];
    char path[128], text[32] = "";
    snprintf(path, sizeof path, "/sys/class/net/%s/address", a[0]);
    FILE *file = fopen(path, "r");
    if (!file || !fgets(text, sizeof text, file)) fail(path);
    fclose(file);
    read_mac(text, own);
    read_mac(a[1], gateway);
    uint32_t to = ntohl(inet_addr(a[2]));
    first_address = ntohl(inet_addr(a[3]));
    flows = atoll(a[4]);
    uint64_t opening = atoll(a[5]), rate = atoll(a[6]), probes = 0;
    if (!flows || flows > FLOWS_MAX || !opening || !rate) die("flows and rates must be numbers above 0");
    link_socket = open_link(a[0], 0);
    frames = new_frames(gateway, own, to, LOAD_PORT);
    struct batch *probe = new_frames(gateway, own, to, PROBE_PORT);
    prctl(PR_SET_TIMERSLACK, 1);
    /* alone: the middlebox has to find the server's MAC address first, and keeps few frames meanwhile */
    paced(0, 1, 1000, probe, &probes);
    wait_until(now_ns() + 50000000);
    uint64_t number = paced(1, flows, opening, NULL, &probes);
    say("ready");
    paced(number, NUMBERS_MAX, rate, probe, &probes);
    die("the load has run for too long");
}

/* -- receiving */

struct datagrams {
    struct mmsghdr headers[BATCH];
    struct iovec vectors[BATCH];
    struct sockaddr_in from[BATCH];
    unsigned char data[BATCH][FRAME_MAX];
};

static unsigned char *seen;             /* a bit for each number */
static uint64_t *sources;               /* of each flow: address and port */
static uint64_t received, repeated, next_number, judged, changed, probe_source;
static int64_t lost;
static uint64_t pairs[2 * PAIRS_MAX], sent_ns[PAIRS_MAX], kept;
static int record;

static int udp_socket(const char *address, int port) {
    int bytes = 8 << 20, s = socket(AF_INET, SOCK_DGRAM, 0);
    if (s < 0) fail("socket");
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = inet_addr(address)};
    setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    if (bind(s, (struct sockaddr *)&own, sizeof own)) fail(address);
    return s;
}

static int take(int s, struct datagrams *d) {
    for (int i = 0; i < BATCH; i++) {
        d->vectors[i] = (struct iovec){d->data[i], FRAME_MAX};
        d->headers[i].msg_hdr = (struct msghdr){.msg_name = &d->from[i], .msg_namelen = sizeof d->from[i],
                                                .msg_iov = &d->vectors[i], .msg_iovlen = 1};
    }
    int n = recvmmsg(s, d->headers, BATCH, MSG_DONTWAIT, NULL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) fail("recvmmsg");
    return n < 0 ? 0 : n;
}

static uint64_t source_of(const struct datagrams *d, int i) {
    return (uint64_t)d->from[i].sin_addr.s_addr << 16 | d->from[i].sin_port;
}

static void take_load(int s, struct datagrams *d) {
    int n;
    while ((n = take(s, d))) {
        for (int i = 0; i < n; i++) {
            uint64_t number;
            if (d->headers[i].msg_len < PAYLOAD_BYTES) continue;
            memcpy(&number, d->data[i] + 8, 8);
            if (number >= NUMBERS_MAX) continue;        /* nobody's */
            if (seen[number / 8] >> number % 8 & 1) {
                repeated++;
                continue;
            }
            seen[number / 8] |= 1 << number % 8;
            received++;
            if (number < judged) lost--;
            if (number >= next_number) next_number = number + 1;
            uint64_t *source = &sources[number % flows];
            changed += *source && *source != source_of(d, i);
            *source = source_of(d, i);
        }
        if (n < BATCH) return;
    }
}

static void flush(void) {
    char *from = (char *)pairs;
    for (size_t left = kept * 16; left;) {
        ssize_t n = write(record, from, left);
        if (n < 0) fail("the record");
        from += n;
        left -= n;
    }
    kept = 0;
}

/* Note the probes that came. */
static void take_probes(int s, struct datagrams *d) {
    uint64_t now = now_ns();
    int n = take(s, d);
    for (int i = 0; i < n; i++) {
        if (d->headers[i].msg_len < PAYLOAD_BYTES) continue;
        if (kept == PAIRS_MAX) flush();
        memcpy(&sent_ns[kept], d->data[i], 8);
        memcpy(&pairs[2 * kept], d->data[i] + 8, 8);
        pairs[2 * kept++ + 1] = now;
        changed += probe_source && probe_source != source_of(d, i);
        probe_source = source_of(d, i);
    }
}

/* When the first probe arrived that was sent at *moment* or later, of those that are not in the record yet; 0: none did. */
static uint64_t passed(uint64_t moment) {
    for (uint64_t i = 0; i < kept; i++)
        if (sent_ns[i] >= moment) return pairs[2 * i + 1];
    return 0;
}

static void report(const char *event) {
    for (; judged + OVERTAKEN < next_number; judged++) lost += !(seen[judged / 8] >> judged % 8 & 1);
    printf("{\"event\": \"%s\", \"received\": %lu, \"repeated\": %lu, \"lost\": %ld, \"mappings_changed\": %lu}\n",
           event, received, repeated, lost, changed);
    fflush(stdout);
}

static void receive_side(char **a) {
    flows = atoll(a[1]);
    if (!flows || flows > FLOWS_MAX) die("flows must be a number above 0");
    int load = udp_socket(a[0], LOAD_PORT), probe = udp_socket(a[0], PROBE_PORT);
    record = open(a[2], O_WRONLY | O_CREAT | O_APPEND, 0600);
    seen = calloc(NUMBERS_MAX / 8, 1);
    sources = calloc(flows, sizeof *sources);
    struct datagrams *d = calloc(1, sizeof *d);
    if (record < 0 || !seen || !sources || !d) fail("receive");
    uint64_t awaited = 0, arrived;
    say("ready");
    for (;;) {
        struct pollfd ready[2] = {{probe, POLLIN, 0}, {0, POLLIN, 0}};
        poll(ready, 2, 5);              /* the load is taken at least each 5 ms */
        take_probes(probe, d);
        take_load(load, d);
        char *line = command();
        if (line && !strncmp(line, "passed ", 7)) awaited = strtoull(line + 7, NULL, 10);
        if (awaited && (arrived = passed(awaited))) {
            awaited = 0;
            printf("{\"event\": \"passed\", \"arrived_ns\": %lu}\n", arrived);
            fflush(stdout);
        }
        if (line && !strcmp(line, "report")) report("report");
        if (line && !strcmp(line, "flush")) {
            flush();
            say("flushed");
        }
        if (line && !strcmp(line, "finish")) {
            flush();
            report("result");
            return;
        }
    }
}

int main(int count, char **a) {
    prctl(PR_SET_PDEATHSIG, 9);
    if (count == 9 && !strcmp(a[1], "send")) send_side(a + 2);
    else if (count == 5 && !strcmp(a[1], "receive")) receive_side(a + 2);
    else {
        fprintf(stderr, "usage: see the top of load.c\n");
        return 2;
    }
    return 0;
}
