/* The load generator of bench.scheduler: pulls over keep-alive connections, each of which plays its share of the peers in turn.

       pulls HOST PORT CONNECTIONS TASK CIDS PULLS

   CIDS is a file with one CID per line. A pull reports the pieces of that peer's previous pull as done, and requests four more.
   A connection has one request in flight. It polls without sleeping, because writing to a process that sleeps on another core
   includes the cost of waking it, unlike a response over a network card. Prints: responses, pieces offered, seconds, idle seconds. */

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { WANT = 4, LONGEST = 1 << 16, CID = 128, PATIENCE = 10 };

struct peer {
    char cid[CID];
    int pieces;
    long piece[WANT];
    char source[WANT][CID];
};

struct line {
    int fd;
    size_t next, got;
    struct peer *asking;
    char answer[LONGEST];
};

static struct peer *peers;
static size_t count, lines;
static const char *task;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double since(const struct timespec *begun) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - begun->tv_sec) + (now.tv_nsec - begun->tv_nsec) * 1e-9;
}

static void ask(struct line *line) {
    char body[LONGEST], head[256];
    struct peer *peer = line->asking = peers + line->next;
    int length = snprintf(body, sizeof body, "{\"task\":\"%s\",\"cid\":\"%s\",\"done\":[", task, peer->cid);
    for (int i = 0; i < peer->pieces; i++)
        length += snprintf(body + length, sizeof body - length, "%s[%ld,\"%s\"]", i ? "," : "", peer->piece[i], peer->source[i]);
    length += snprintf(body + length, sizeof body - length, "],\"want\":%d}", WANT);
    int first = snprintf(head, sizeof head,
                         "POST /swarm/pull HTTP/1.1\r\nHost: supernode\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", length);
    memmove(body + first, body, length);
    memcpy(body, head, first);
    if (write(line->fd, body, first + length) != first + length)
        fail("write");
    peer->pieces = 0;
    line->got = 0;
    line->next += lines;
    if (line->next >= count)
        line->next %= lines;
}

/* Pieces of a response's offers: [n, "digest", [["cid", "ip", port, "path"], ...]], ... */
static int offers(struct peer *peer, const char *body) {
    const char *at = strstr(body, "\"offers\":[");
    if (!at)
        return 0;
    at += 10;
    while (*at == '[' && peer->pieces < WANT) {
        peer->piece[peer->pieces] = strtol(at + 1, NULL, 10);
        const char *cid = strstr(at, "[[");
        if (!cid || !(cid = strchr(cid, '"')))
            fail("an offer without a source");
        const char *end = strchr(++cid, '"');
        if (!end || end - cid >= CID)
            fail("a CID");
        memcpy(peer->source[peer->pieces], cid, end - cid);
        peer->source[peer->pieces][end - cid] = 0;
        peer->pieces++;
        if (!(at = strstr(end, "]]]")))
            fail("an offer without an end");
        at += 3;
        at += *at == ',';
    }
    return peer->pieces;
}

/* Whether the whole response was received. */
static int answered(struct line *line) {
    ssize_t got = read(line->fd, line->answer + line->got, sizeof line->answer - 1 - line->got);
    if (got <= 0)
        fail("read");
    line->got += got;
    line->answer[line->got] = 0;
    const char *body = strstr(line->answer, "\r\n\r\n");
    if (!body)
        return 0;
    const char *length = strstr(line->answer, "Content-Length: ");
    if (!length || strncmp(line->answer, "HTTP/1.1 200", 12))
        fail(line->answer);
    return line->got >= (size_t)(body + 4 - line->answer) + strtoul(length + 16, NULL, 10);
}

int main(int argc, char **argv) {
    if (argc != 7)
        return 2;
    lines = strtoul(argv[3], NULL, 10);
    task = argv[4];
    long wanted = strtol(argv[6], NULL, 10), answers = 0, pieces = 0;
    FILE *file = fopen(argv[5], "r");
    if (!file)
        fail(argv[5]);
    peers = calloc(1 << 20, sizeof *peers);
    while (count < 1 << 20 && fscanf(file, "%127s", peers[count].cid) == 1)
        count++;
    if (count < lines)
        lines = count;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &to.sin_addr);
    int poll = epoll_create1(0), one = 1;
    struct line *all = calloc(lines, sizeof *all);
    struct timespec begun;
    double ended = 0, idle = 0;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (size_t i = 0; i < lines; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = all + i};
        all[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        all[i].next = i;
        if (connect(all[i].fd, (struct sockaddr *)&to, sizeof to))
            fail("connect");
        setsockopt(all[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        epoll_ctl(poll, EPOLL_CTL_ADD, all[i].fd, &event);
        ask(all + i);
    }
    while (answers < wanted) {
        struct epoll_event ready[64];
        int number = epoll_wait(poll, ready, 64, 0);
        if (number < 0)
            fail("epoll_wait");
        if (number == 0) {
            if (since(&begun) > ended + PATIENCE)
                fail("nothing is answered");
            continue;
        }
        idle += since(&begun) - ended;
        for (int i = 0; i < number && answers < wanted; i++) {
            struct line *line = ready[i].data.ptr;
            if (!answered(line))
                continue;
            answers++;
            pieces += offers(line->asking, line->answer);
            ask(line);
        }
        ended = since(&begun);
    }
    printf("%ld %ld %f %f\n", answers, pieces, ended, idle);
    return 0;
}
