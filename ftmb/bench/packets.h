/* What the bench's programs share: raw packet sockets, batches of frames, UDP frames. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
#define FRAME_MAX 2048
#define HEADERS 42              /* Ethernet, IPv4, UDP */

static inline void fail(const char *what) { fprintf(stderr, "%s: %s\n", what, strerror(errno)); exit(1); }

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static inline void read_mac(const char *text, unsigned char *mac) {
    if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) != 6) {
        fprintf(stderr, "%s is no MAC address\n", text);
        exit(1);
    }
}

static inline int open_link(const char *interface, int receives) {
    int on = 1, bytes = 32 << 20, s = socket(AF_PACKET, SOCK_RAW, 0);
    if (s < 0) fail("socket");
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(receives ? ETH_P_ALL : 0)};
    to.sll_ifindex = if_nametoindex(interface);
    if (!to.sll_ifindex) fail(interface);
    if (setsockopt(s, SOL_PACKET, 23 /* PACKET_IGNORE_OUTGOING */, &on, sizeof on)) fail("PACKET_IGNORE_OUTGOING");
    setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    setsockopt(s, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
    if (bind(s, (struct sockaddr *)&to, sizeof to)) fail(interface);
    return s;
}

static inline int open_link_in(const char *space, const char *interface, int receives) {
    char path[256];
    snprintf(path, sizeof path, "/run/netns/%s", space);
    int home = open("/proc/self/ns/net", O_RDONLY), there = open(path, O_RDONLY);
    if (home < 0 || there < 0 || setns(there, CLONE_NEWNET)) fail(path);
    int s = open_link(interface, receives);
    if (setns(home, CLONE_NEWNET)) fail("setns");
    close(home);
    close(there);
    return s;
}

struct batch {
    struct mmsghdr headers[BATCH];
    struct iovec vectors[BATCH];
    unsigned char frames[BATCH][FRAME_MAX];
};

static inline struct batch *new_batch(void) {
    struct batch *b = calloc(1, sizeof *b);
    if (!b) fail("calloc");
    for (int i = 0; i < BATCH; i++) {
        b->vectors[i] = (struct iovec){b->frames[i], FRAME_MAX};
        b->headers[i].msg_hdr.msg_iov = &b->vectors[i];
        b->headers[i].msg_hdr.msg_iovlen = 1;
    }
    return b;
}

static inline int receive(int s, struct batch *b, int flags) {
    for (int i = 0; i < BATCH; i++) b->vectors[i].iov_len = FRAME_MAX;
    int n = recvmmsg(s, b->headers, BATCH, flags, NULL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) fail("recvmmsg");
    return n < 0 ? 0 : n;
}

static inline int transmit(int s, struct batch *b, int count) {
    int done = 0;
    while (done < count) {
        int n = sendmmsg(s, b->headers + done, count - done, 0);
        if (n < 0 && errno != ENOBUFS && errno != EINTR) fail("sendmmsg");
        if (n < 0) return done;
        done += n;
    }
    return done;
}

/* -- UDP frames */

static inline void put16(unsigned char *p, uint32_t v) { p[0] = v >> 8; p[1] = v; }
static inline void put32(unsigned char *p, uint32_t v) { put16(p, v >> 16); put16(p + 2, v); }

static inline uint32_t sum16(const unsigned char *p, int bytes) {
    uint32_t sum = 0;
    for (int i = 0; i + 1 < bytes; i += 2) sum += p[i] << 8 | p[i + 1];
    return sum;
}

static inline uint16_t fold(uint32_t sum) {
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return ~sum;
}

/* All that does not change from packet to packet. */
static inline void prepare(unsigned char *f, const unsigned char *gateway, const unsigned char *own, uint32_t to, int port, int bytes) {
    memset(f, 0, FRAME_MAX);
    memcpy(f, gateway, 6);
    memcpy(f + 6, own, 6);
    put16(f + 12, ETH_P_IP);
    f[14] = 0x45;
    put16(f + 16, bytes - 14);
    f[20] = 0x40;       /* don't fragment, as hosts send */
    f[22] = 64;
    f[23] = 17;
    put32(f + 30, to);
    put16(f + 36, port);
    put16(f + 38, bytes - 34);
}

/* The rest: the source, two 64-bit words of the payload (the rest of it is zero), and the checksums. */
static inline void stamp(unsigned char *f, uint32_t from, int port, int bytes, uint64_t at, uint64_t number) {
    put32(f + 26, from);
    put16(f + 34, port);
    put16(f + 24, 0);
    put16(f + 24, fold(sum16(f + 14, 20)));
    memcpy(f + HEADERS, &at, 8);
    memcpy(f + HEADERS + 8, &number, 8);
    put16(f + 40, 0);
    uint16_t sum = fold(sum16(f + 26, 8) + 17 + (bytes - 34) + sum16(f + 34, 24));
    put16(f + 40, sum ? sum : 0xffff);
}
