/* The bench's traffic and the physical limit: raw packet sockets with recvmmsg and sendmmsg.
 *
 *   wire forward IN OUT MAC|-     take each frame from IN, send it by OUT (to MAC), until a signal ends it
 *   wire traffic CLIENT-NS IF SERVER-NS IF ASKING-IF GATEWAY-MAC OUTSIDE-MAC BYTES FLOWS window|rate N SECONDS
 *
 * traffic has the middlebox learn the server's MAC by ASKING-IF, then sends UDP frames of BYTES in FLOWS flows at the
 * client and counts what arrives at the server: with at most N of them under way (window), or N a second (rate), what has
 * become due in a burst each 100 us. It prints one line of JSON. Counted is what arrives in the last three quarters of
 * SECONDS; times are CLOCK_MONOTONIC, latencies those of the sender's stamp in the payload, CPU time is its own for each
 * frame received.
 */
#include "packets.h"

#include <poll.h>
#include <sys/resource.h>

#define SERVER_PORT 40000
#define FLOWS_PER_ADDRESS 50000
#define SETTLE_NS 200000000ull
#define BURST_NS 100000ull      /* waking for each frame would cost more than a hop of what is measured */
#define STALL_MS 100            /* what has not arrived by then is lost */
#define BUCKETS (64 * 64)

static _Noreturn void forward(char **a) {
    int in = open_link(a[0], 1), out = open_link(a[1], 0);
    unsigned char mac[6];
    int rewrites = strcmp(a[2], "-");
    if (rewrites) read_mac(a[2], mac);
    struct batch *b = new_batch();
    for (;;) {
        int n = receive(in, b, MSG_WAITFORONE);
        for (int i = 0; i < n; i++) {
            b->vectors[i].iov_len = b->headers[i].msg_len;
            if (rewrites) memcpy(b->frames[i], mac, 6);
        }
        transmit(out, b, n);
    }
}

/* -- traffic */

static uint64_t buckets[BUCKETS], counted, total_received;

/* 64 buckets to each power of two: within 1.6 % */
static int bucket_of(uint64_t ns) {
    if (ns < 64) return ns;
    int shift = 57 - __builtin_clzll(ns);
    return (shift + 1) * 64 + ((ns >> shift) & 63);
}

static double bucket_us(int i) {
    return i < 64 ? i / 1e3 : (double)((64ull + i % 64) << (i / 64 - 1)) / 1e3;
}

static double percentile(double part) {
    uint64_t seen = 0, wanted = counted * part;
    for (int i = 0; i < BUCKETS; i++)
        if ((seen += buckets[i]) > wanted) return bucket_us(i);
    return 0;
}

/* Let the middlebox learn the server's MAC: ask for its outside address. */
static void introduce(int s, const unsigned char *outside) {
    unsigned char f[60] = {0};
    memcpy(f, outside, 6);
    memcpy(f + 6, "\2\0\0\0\0\2", 6);
    put16(f + 12, ETH_P_ARP);
    put16(f + 14, 1);
    put16(f + 16, ETH_P_IP);
    put16(f + 18, 6 << 8 | 4);
    put16(f + 20, 1);
    memcpy(f + 22, f + 6, 6);
    put32(f + 28, 0xC0000201);
    put32(f + 38, 0xC00002FE);          /* 192.0.2.254 */
    if (send(s, f, sizeof f, 0) < 0) fail("send");
    usleep(50000);
}

static int collect(int s, struct batch *b, uint64_t from, uint64_t to) {
    int n = receive(s, b, MSG_DONTWAIT), ours = 0;
    uint64_t now = n ? now_ns() : 0;
    for (int i = 0; i < n; i++) {
        unsigned char *f = b->frames[i];
        uint64_t at;
        if (b->headers[i].msg_len < HEADERS + 8 || f[12] != 8 || f[13] || f[23] != 17 || (f[36] << 8 | f[37]) != SERVER_PORT) continue;
        ours++;
        memcpy(&at, f + HEADERS, 8);
        if (now < from || now >= to) continue;
        counted++;
        buckets[bucket_of(now > at ? now - at : 0)]++;
    }
    total_received += ours;
    return ours;
}

static int traffic(char **a) {
    unsigned char gateway[6], outside[6];
    read_mac(a[5], gateway);
    read_mac(a[6], outside);
    int out = open_link_in(a[0], a[1], 0), in = open_link_in(a[2], a[3], 1), asking = open_link_in(a[2], a[4], 0);
    int bytes = atoi(a[7]), by_rate = !strcmp(a[9], "rate");
    uint64_t flows = atoll(a[8]), amount = atoll(a[10]), length = atof(a[11]) * 1e9;
    if (bytes < HEADERS + 18 || bytes > FRAME_MAX || !flows || !amount) { errno = EINVAL; fail("arguments"); }
    prctl(PR_SET_TIMERSLACK, 1);
    struct batch *sending = new_batch(), *receiving = new_batch();
    for (int i = 0; i < BATCH; i++) {
        prepare(sending->frames[i], gateway, (const unsigned char *)"\2\0\0\0\0\1", 0xC0000201, SERVER_PORT, bytes);    /* 192.0.2.1 */
        sending->vectors[i].iov_len = bytes;
    }
    introduce(asking, outside);
    uint64_t start = now_ns(), from = start + length / 4, end = start + length, now;
    uint64_t sent = 0, lost = 0, under_way = 0;
    while ((now = now_ns()) < end) {
        uint64_t due = by_rate ? (now - start) / BURST_NS * BURST_NS * (__uint128_t)amount / 1000000000 - sent : amount - under_way;
        int n = due > BATCH ? BATCH : due;
        for (int i = 0; i < n; i++) {
            uint64_t flow = (sent + i) % flows;         /* from 10.0.1.0 and on */
            stamp(sending->frames[i], 0x0A000100 + flow / FLOWS_PER_ADDRESS, 1024 + flow % FLOWS_PER_ADDRESS, bytes, now_ns(), sent + i);
        }
        if (n) {
            int done = transmit(out, sending, n);
            sent += done;
            under_way += done;
        }
        int came = collect(in, receiving, from, end);
        under_way = (uint64_t)came > under_way ? 0 : under_way - came;
        if (came || n == BATCH) continue;
        struct pollfd poll_in = {in, POLLIN, 0};
        struct timespec wait = {0, STALL_MS * 1000000l};
        if (by_rate) {
            uint64_t after = ((sent + 1) * (__uint128_t)1000000000 + amount - 1) / amount, then = now_ns();
            uint64_t next = start + (after + BURST_NS - 1) / BURST_NS * BURST_NS;
            wait.tv_nsec = next > then ? next - then > 100000000 ? 100000000 : next - then : 0;
        }
        if (!ppoll(&poll_in, 1, &wait, NULL) && !by_rate) {
            lost += under_way;
            under_way = 0;
        }
    }
    for (uint64_t last = end + SETTLE_NS; now_ns() < last;) {
        struct pollfd poll_in = {in, POLLIN, 0};
        poll(&poll_in, 1, 10);
        collect(in, receiving, from, end);
    }
    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    double cpu_us = (own.ru_utime.tv_sec + own.ru_stime.tv_sec) * 1e6 + own.ru_utime.tv_usec + own.ru_stime.tv_usec;
    printf("{\"sent\": %lu, \"received\": %lu, \"per_second\": %.1f, \"cpu_us\": %.3f, ", sent, total_received,
           counted / ((end - from) / 1e9), total_received ? cpu_us / total_received : 0);
    printf("\"p50_us\": %.3f, \"p99_us\": %.3f, \"p999_us\": %.3f, \"max_us\": %.3f}\n",
           percentile(0.5), percentile(0.99), percentile(0.999), percentile(1 - 1e-9));
    return 0;
}

int main(int count, char **a) {
    prctl(PR_SET_PDEATHSIG, 9);
    if (count == 5 && !strcmp(a[1], "forward")) forward(a + 2);
    if (count == 14 && !strcmp(a[1], "traffic")) return traffic(a + 2);
    fprintf(stderr, "usage: see the top of wire.c\n");
    return 2;
}
