/* The least that a server can do to send one WebSocket frame to N connections: send() for each.

   fanout --port P --connections N --frame-bytes B --hz H   (0: as fast as it goes, -1: never)

   It answers every request with an upgrade, whatever it says, and begins when N are there. What a
   client sends is thrown away. It is the limit that a server which does more is compared with. */

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"

/* The answer to the one key that our client sends. */
static const char UPGRADED[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

struct connection {
    int fd;
    int is_open;
    size_t unsent; /* How much of the last frame the socket did not take. */
};

static struct connection *connections;
static int wanted, opened;
static unsigned char *frame;
static size_t frame_bytes;

static void make_frame(size_t payload_bytes) {
    size_t head = payload_bytes < 126 ? 2 : 4;
    frame_bytes = head + payload_bytes;
    frame = calloc(1, frame_bytes);
    frame[0] = 0x82;
    if (head == 2) {
        frame[1] = (unsigned char)payload_bytes;
    } else {
        frame[1] = 126;
        frame[2] = (unsigned char)(payload_bytes >> 8);
        frame[3] = (unsigned char)payload_bytes;
    }
    /* The head of a message as the client expects it. */
    frame[head] = 0x95;
    frame[head + 1] = 6;
}

static void send_frame(struct connection *to) {
    size_t bytes = to->unsent ? to->unsent : frame_bytes;
    ssize_t sent = send(to->fd, frame + (frame_bytes - bytes), bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
        to->unsent = bytes - (size_t)sent;
    } else if (errno != EAGAIN) {
        to->is_open = 0;
    }
}

static void read_from(struct connection *from) {
    char thrown_away[4096];
    ssize_t got = recv(from->fd, thrown_away, sizeof thrown_away, MSG_DONTWAIT);
    if (got > 0 && !from->is_open) {
        if (send(from->fd, UPGRADED, sizeof UPGRADED - 1, MSG_NOSIGNAL) < 0) die("no upgrade");
        from->is_open = 1;
        opened++;
    } else if (got == 0 || (got < 0 && errno != EAGAIN)) {
        close(from->fd); /* The client has what it wanted. */
        from->is_open = 0;
    }
}

static void accept_all(int listening, int epoll) {
    int fd, yes = 1;
    while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        static int accepted;
        if (accepted == wanted) die("more than %d came", wanted);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        connections[accepted].fd = fd;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[accepted++]};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll: %s", strerror(errno));
    }
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 1024) < 0)
        die("port %d: %s", port, strerror(errno));
    return fd;
}

int main(int argc, char **argv) {
    double hz = atof(option(argc, argv, "--hz", "20"));
    wanted = atoi(option(argc, argv, "--connections", "100"));
    make_frame((size_t)atol(option(argc, argv, "--frame-bytes", "200")));
    connections = calloc((size_t)wanted, sizeof *connections);
    raise_file_limit();
    int listening = listen_on(atoi(option(argc, argv, "--port", "0")));
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[256];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event);
    puts("{\"event\": \"listening\"}");
    fflush(stdout);

    int64_t interval_ns = hz > 0 ? (int64_t)(1e9 / hz) : 0, due_ns = 0;
    for (;;) {
        int64_t left_ns = hz < 0 || opened < wanted ? 100 * MS_NS : due_ns - now_ns();
        int timeout_ms = left_ns <= 0 ? 0 : (int)((left_ns + MS_NS - 1) / MS_NS);
        int count = epoll_wait(epoll, events, 256, timeout_ms);
        for (int at = 0; at < count; at++) {
            if (events[at].data.ptr == NULL) {
                accept_all(listening, epoll);
            } else {
                read_from(events[at].data.ptr);
            }
        }
        if (hz < 0 || opened < wanted || now_ns() < due_ns) continue;
        for (int at = 0; at < wanted; at++)
            if (connections[at].is_open) send_frame(&connections[at]);
        /* A late round does not shift later ones. */
        due_ns = due_ns ? due_ns + interval_ns : now_ns() + interval_ns;
    }
}
