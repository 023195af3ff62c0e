/* Many players in one process: joins rooms, sends commands, counts what comes back, says how late.

   load --dialect gs|plain|colyseus --port P --connections N --group G --rate R --duration S
        [--game NAME] [--warm S] [--ramp K] [--play yes|no] [--watch yes|no] [--path /ws]

   gs:       our protocol, see protocol/README.md. The first of each group makes a room of the game,
             the others join it by its id; with --watch yes they take no seat.
   plain:    WebSocket at /<group>; a command is [1, value] in MessagePack.
   colyseus: joinOrCreate of the room "bench" with {group}; a command is the message "set".

   With --play no nobody joins anything: the connections count the frames that come by themselves,
   and send commands of 40 bytes to a room that they do not see.

   Every command carries a number of 32 bits that occurs nowhere else. It is seen when its bytes
   stand in a frame that tells of changes; times run from the moment at which it was to be sent.
   Lines of JSON on stdout: ready (all have joined), begin, end, and the report. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"
#include "wire.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
/* Bytes for a field of the command, so that its message has 40. */
#define PADDING "\xc4\x0f" "0123456789abcde"
#define OPEN_MAX 8           /* Commands of one player that were not seen yet. */
#define WHEEL_SLOTS 8192     /* Milliseconds: further ahead is nothing due. */
#define BUFFER_BYTES 262144
#define TICKS 4096
#define RAMP_TIMEOUT_NS (90 * SECOND_NS)
#define RETRY_NS (250 * MS_NS) /* After an answer that there is no place just now. */
#define TURNED_AWAY_MAX 1000
#define DRAIN_NS SECOND_NS   /* How long commands of the window may still become visible. */

enum dialect { GS, PLAIN, COLYSEUS };
enum stage { NEW, CONNECTING, MATCHING, UPGRADING, GREETING, WAITING, JOINING, PLAYING };

struct sent {
    uint32_t value;
    int64_t due_ns;
};

struct player {
    int fd, group;
    enum stage stage;
    unsigned char *rest; /* The beginning of a frame that is not whole yet. */
    size_t rest_bytes;
    struct player *next; /* In the same slot of the wheel. */
    int64_t due_ns;
    uint32_t number, deltas;
    int open_count;
    struct sent open[OPEN_MAX];
};

struct group {
    unsigned char room[9]; /* Its id as it came. */
    size_t room_bytes;
};

struct tick {
    uint64_t number;
    uint32_t count;
    int64_t first_ns, last_ns;
};

static enum dialect dialect;
static const char *game, *path;
static int port, wanted, group_size, ramp, plays, watches, epoll;
static int started, playing; /* Players that have begun to connect, and that are in their rooms. */
static double rate;
static uint32_t run_id;
static struct player *players, *wheel[WHEEL_SLOTS];
static struct group *groups;
static int64_t wheel_ms, begin_ns, end_ns; /* The window is 0 until it is known. */
static unsigned char buffer[BUFFER_BYTES];
static struct tick ticks[TICKS];

static struct {
    uint64_t deltas, delta_bytes, frames, bytes, commands, seen, overrun, deferred, lost, outcomes;
    struct histogram visible, lag;
} told;

static int in_window(int64_t at_ns) { return begin_ns && at_ns >= begin_ns && at_ns < end_ns; }

static const char *last_words = "";
static int turned_away;

static void put_on_wheel(struct player *player, int64_t due_ns);

/* Who is lost before playing comes back a little later; who is lost after that is missed. */
static void lose(struct player *player, const char *why) {
    epoll_ctl(epoll, EPOLL_CTL_DEL, player->fd, NULL);
    close(player->fd);
    player->fd = -1;
    player->rest_bytes = 0;
    if (player->stage == PLAYING) {
        if (!begin_ns) die("a player was lost before the window began: %s %s", why, last_words);
        told.lost++;
    } else {
        if (++turned_away > TURNED_AWAY_MAX) die("no way in: %s %s", why, last_words);
        player->stage = NEW;
        put_on_wheel(player, now_ns() + RETRY_NS);
    }
}

static void send_bytes(struct player *player, const void *data, size_t bytes) {
    if (send(player->fd, data, bytes, MSG_NOSIGNAL) != (ssize_t)bytes)
        lose(player, "nothing more could be sent");
}

static void send_message(struct player *player, struct message *message, enum opcode opcode) {
    mask_frame(message, opcode);
    send_bytes(player, message->bytes, message->length);
}

/* --- The wheel: what each player does next, by the millisecond. */

static void put_on_wheel(struct player *player, int64_t due_ns) {
    int64_t at_ms = due_ns / MS_NS + 1; /* Late rather than early. */
    if (at_ms < wheel_ms) at_ms = wheel_ms;
    if (at_ms >= wheel_ms + WHEEL_SLOTS) at_ms = wheel_ms + WHEEL_SLOTS - 1;
    player->due_ns = due_ns;
    player->next = wheel[at_ms % WHEEL_SLOTS];
    wheel[at_ms % WHEEL_SLOTS] = player;
}

static int64_t next_due_ns(int64_t due_ns) {
    /* Half to one and a half times the interval: players do not march in step. */
    return due_ns + (int64_t)(SECOND_NS / rate * (0.5 + chance() / 4294967296.0));
}

/* --- Joining. */

static void enter(struct player *player) {
    player->stage = PLAYING;
    playing++;
    if (rate > 0)
        put_on_wheel(player, now_ns() + (int64_t)(SECOND_NS / rate * (chance() / 4294967296.0)));
}

static void join(struct player *player) {
    struct group *group = &groups[player->group];
    struct message message = {.length = 0};
    player->stage = JOINING;
    put_raw(&message, "\x95\x04\x01\x02", 4);
    put_raw(&message, group->room, group->room_bytes);
    int is_seated = !watches || player == &players[player->group * group_size];
    put_byte(&message, is_seated ? 0xc2 : 0xc3);
    send_message(player, &message, BINARY);
}

static void make_room(struct player *player) {
    struct message message = {.length = 0};
    uint32_t key[2] = {run_id, (uint32_t)player->group}; /* The same again after a busy answer. */
    player->stage = WAITING;
    put_raw(&message, "\x94\x03\x01\xa6" "create\x94", 11);
    put_text(&message, game);
    put_raw(&message, "\xc4\x08", 2);
    put_raw(&message, key, 8);
    put_raw(&message, "\xc2\x80", 2);
    send_message(player, &message, BINARY);
}

static void welcomed(struct player *player) {
    if (!plays) {
        enter(player);
    } else if (groups[player->group].room_bytes) {
        join(player);
    } else if (player == &players[player->group * group_size]) {
        make_room(player);
    } else {
        player->stage = WAITING;
    }
}

static void answered(struct player *player, const struct frame *frame) {
    /* [3, request, code, [room, code]], or why not: then it is asked again. */
    const unsigned char *at = frame->payload + 2, *end = frame->payload + frame->bytes;
    struct group *group = &groups[player->group];
    take_int(&at, end);
    if (take_int(&at, end) != 0) {
        last_words = strndup((const char *)at + 2, (size_t)(end - at) - 2);
        put_on_wheel(player, now_ns() + RETRY_NS);
        return;
    }
    if (player->stage != WAITING || at == end || *at++ != 0x92) die("a reply to nothing");
    group->room_bytes = int_bytes(at, end);
    memcpy(group->room, at, group->room_bytes);
    int first = player->group * group_size;
    for (int member = first; member < first + group_size && member < wanted; member++)
        if (players[member].stage == WAITING) join(&players[member]);
}

static void say_hello(struct player *player) {
    struct message message = {.length = 0};
    char name[24];
    player->stage = GREETING;
    snprintf(name, sizeof name, "p%d", (int)(player - players));
    put_raw(&message, "\x95\x01\x91\x01\xa0", 5);
    put_text(&message, name);
    put_text(&message, "load");
    send_message(player, &message, BINARY);
}

static void ask_upgrade(struct player *player, const char *where) {
    char request[512];
    int bytes = snprintf(request, sizeof request,
                         "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
                         "Connection: Upgrade\r\nSec-WebSocket-Key: " KEY "\r\n"
                         "Sec-WebSocket-Version: 13\r\n%s\r\n",
                         where, port,
                         dialect == GS ? "Sec-WebSocket-Protocol: gs.v1\r\n" : "");
    player->stage = UPGRADING;
    send_bytes(player, request, (size_t)bytes);
}

static void ask_match(struct player *player) {
    char body[64], request[512];
    int body_bytes = snprintf(body, sizeof body, "{\"group\": %d}", player->group);
    int bytes = snprintf(request, sizeof request,
                         "POST /matchmake/joinOrCreate/bench HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                         "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                         port, body_bytes, body);
    player->stage = MATCHING;
    send_bytes(player, request, (size_t)bytes);
}

static void connected(struct player *player) {
    char where[64];
    if (dialect == COLYSEUS) {
        ask_match(player);
    } else if (dialect == PLAIN) {
        snprintf(where, sizeof where, "/%d", player->group);
        ask_upgrade(player, where);
    } else {
        ask_upgrade(player, path);
    }
}

static void start(struct player *player) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int yes = 1;
    player->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (player->fd < 0) die("socket: %s", strerror(errno));
    setsockopt(player->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    player->stage = CONNECTING;
    if (connect(player->fd, (struct sockaddr *)&address, sizeof address) < 0
        && errno != EINPROGRESS)
        die("connect: %s", strerror(errno));
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = player};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, player->fd, &event) < 0) die("epoll: %s", strerror(errno));
}

/* Takes the answer to an HTTP request out of the data; returns its length, 0 if it is not whole. */
static size_t take_answer(struct player *player, unsigned char *data, size_t bytes) {
    char *end = memmem(data, bytes, "\r\n\r\n", 4);
    if (end == NULL) return 0;
    size_t head = (size_t)(end + 4 - (char *)data);
    *end = 0; /* The data are ours; texts are searched in them. */
    if (player->stage == UPGRADING) {
        if (memmem(data, head, " 101 ", 5) == NULL || memmem(data, head, ACCEPT, 28) == NULL)
            die("no upgrade: %s", (char *)data);
        if (dialect == PLAIN) enter(player);
        else if (dialect == GS) say_hello(player);
        else player->stage = GREETING;
        return head;
    }
    char *length = strcasestr((char *)data, "content-length:");
    size_t body_bytes = length ? (size_t)atol(length + 15) : 0;
    *end = '\r';
    if (bytes < head + body_bytes) return 0;
    char body[512], room[64], session[64], process[64], where[256];
    snprintf(body, sizeof body, "%.*s", (int)body_bytes, (char *)data + head);
    char *session_at = strstr(body, "\"sessionId\":\""), *room_at = strstr(body, "\"roomId\":\"");
    char *process_at = strstr(body, "\"processId\":\"");
    if (!session_at || !room_at || !process_at) die("no seat: %s", body);
    if (sscanf(session_at + 13, "%63[^\"]", session) != 1
        || sscanf(room_at + 10, "%63[^\"]", room) != 1
        || sscanf(process_at + 13, "%63[^\"]", process) != 1)
        die("no seat: %s", body);
    snprintf(where, sizeof where, "/%s/%s?sessionId=%s", process, room, session);
    ask_upgrade(player, where);
    return head + body_bytes;
}

/* --- Playing. */

static void send_command(struct player *player, int64_t at_ns) {
    struct group *group = &groups[player->group];
    struct message message = {.length = 0};
    /* Of five bytes in every dialect: from 2^31 on Colyseus sends floats. */
    uint32_t value = (chance() & 0x3fffffff) | 0x40000000;
    int64_t due_ns = player->due_ns;
    player->number++;
    if (dialect == GS || !plays) {
        put_raw(&message, "\x94\x07", 2);
        if (plays) put_raw(&message, group->room, group->room_bytes);
        else put_raw(&message, "\xcf\x00\x00\x00\x01\x00\x00\x00\x01", 9);
        put_u32(&message, player->number);
        put_raw(&message, plays ? "\x92\x01" : "\x93\x01", 2);
    } else if (dialect == PLAIN) {
        put_raw(&message, "\x92\x01", 2);
    } else {
        put_raw(&message, "\x0d\xa3" "set", 5);
    }
    put_u32(&message, value);
    if (!plays) put_raw(&message, PADDING, sizeof PADDING - 1);
    if (in_window(due_ns)) {
        told.commands++;
        count_us(&told.lag, (at_ns - due_ns) / 1000);
    }
    if (player->open_count == OPEN_MAX) {
        /* The oldest is given up: it counts as one that was never seen. */
        memmove(player->open, player->open + 1, (OPEN_MAX - 1) * sizeof *player->open);
        player->open_count--;
        told.overrun++;
    }
    player->open[player->open_count++] = (struct sent){value, due_ns};
    send_message(player, &message, BINARY);
}

static void act(struct player *player) {
    if (player->stage == PLAYING) {
        send_command(player, now_ns());
        if (player->fd >= 0) put_on_wheel(player, next_due_ns(player->due_ns));
    } else if (player->stage == NEW) {
        start(player);
    } else {
        welcomed(player); /* What was asked for before is asked for again. */
    }
}

static void run_wheel(int64_t at_ns) {
    for (; wheel_ms <= at_ns / MS_NS; wheel_ms++) {
        struct player *player = wheel[wheel_ms % WHEEL_SLOTS];
        wheel[wheel_ms % WHEEL_SLOTS] = NULL;
        while (player != NULL) {
            struct player *next = player->next;
            int is_gone = player->fd < 0 && player->stage != NEW;
            if (!is_gone && (!end_ns || player->due_ns < end_ns)) act(player);
            player = next;
        }
    }
}

static void look_for_own(struct player *player, const struct frame *frame, int64_t at_ns) {
    /* The newest first: what came before it is in the state too, or was overwritten there. */
    for (int at = player->open_count - 1; at >= 0; at--) {
        uint32_t value = player->open[at].value;
        unsigned char bytes[5] = {0xce};
        for (int byte = 0; byte < 4; byte++)
            bytes[1 + byte] = (unsigned char)(value >> (dialect == COLYSEUS ? 8 * byte : 24 - 8 * byte));
        if (memmem(frame->payload, frame->bytes, bytes, 5) == NULL) continue;
        for (int seen = 0; seen <= at; seen++) {
            if (!in_window(player->open[seen].due_ns)) continue;
            told.seen++;
            count_us(&told.visible, (at_ns - player->open[seen].due_ns) / 1000);
        }
        player->open_count -= at + 1;
        memmove(player->open, player->open + at + 1,
                (size_t)player->open_count * sizeof *player->open);
        return;
    }
}

static void note_tick(const struct frame *frame, int64_t at_ns) {
    /* [6, room, base, tick, changes] */
    const unsigned char *at = frame->payload + 2, *end = frame->payload + frame->bytes;
    take_int(&at, end);
    take_int(&at, end);
    uint64_t number = take_int(&at, end);
    struct tick *tick = &ticks[number % TICKS];
    if (tick->number != number) *tick = (struct tick){.number = number, .first_ns = at_ns};
    tick->count++;
    tick->last_ns = at_ns;
}

static void take_delta(struct player *player, const struct frame *frame, int64_t at_ns) {
    if (in_window(at_ns)) {
        told.deltas++;
        told.delta_bytes += frame->whole;
        player->deltas++;
        if (dialect == GS && plays && group_size >= wanted) note_tick(frame, at_ns);
    }
    if (player->open_count) look_for_own(player, frame, at_ns);
}

static void take_gs(struct player *player, const struct frame *frame, int64_t at_ns) {
    struct message message = {.length = 0};
    switch (frame->bytes > 1 ? frame->payload[1] : 0) {
    case 1: welcomed(player); break;
    case 3: answered(player, frame); break;
    case 4: enter(player); break;
    case 6: take_delta(player, frame, at_ns); break;
    case 7: told.outcomes += (uint64_t)in_window(at_ns); break;
    case 8: told.deferred++; break;
    case 10: case 13: case 16: /* Left, Goodbye, Invalid: what is wrong stands in them. */
        last_words = strndup((const char *)frame->payload + 2, frame->bytes - 2);
        lose(player, "told to go");
        break;
    case 14: { /* [14, echo, time] is answered with [10, echo]. */
        const unsigned char *echo = frame->payload + 2;
        put_raw(&message, "\x92\x0a", 2);
        put_raw(&message, echo, int_bytes(echo, frame->payload + frame->bytes));
        send_message(player, &message, BINARY);
        break;
    }
    default: break; /* Full, Roster, Nodes and the like. */
    }
}

static void take_colyseus(struct player *player, const struct frame *frame, int64_t at_ns) {
    struct message message = {.length = 0};
    switch (frame->bytes ? frame->payload[0] : 0) {
    case 10: /* The seat is ours: say that we are there. */
        put_byte(&message, 10);
        send_message(player, &message, BINARY);
        break;
    case 11: die("colyseus: an error");
    case 14:
        if (player->stage == GREETING) enter(player);
        break;
    case 15: take_delta(player, frame, at_ns); break;
    default: break;
    }
}

static void take_frame(struct player *player, const struct frame *frame, int64_t at_ns) {
    if (in_window(at_ns)) {
        told.frames++;
        told.bytes += frame->whole;
    }
    if (frame->opcode == PING) {
        struct message message = {.length = 0};
        put_raw(&message, frame->payload, frame->bytes);
        send_message(player, &message, PONG);
    } else if (frame->opcode == CLOSE) {
        lose(player, "closed");
    } else if (frame->opcode == BINARY) {
        if (dialect == GS) take_gs(player, frame, at_ns);
        else if (dialect == PLAIN) take_delta(player, frame, at_ns);
        else take_colyseus(player, frame, at_ns);
    }
}

static void take_data(struct player *player) {
    size_t bytes = player->rest_bytes, at = 0;
    memcpy(buffer, player->rest, bytes);
    ssize_t got = recv(player->fd, buffer + bytes, BUFFER_BYTES - bytes - 1, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) lose(player, got ? strerror(errno) : "the end");
        return;
    }
    bytes += (size_t)got;
    buffer[bytes] = 0;
    int64_t at_ns = now_ns();
    while (player->fd >= 0 && at < bytes) {
        struct frame frame;
        size_t taken = 0;
        if (player->stage == MATCHING || player->stage == UPGRADING) {
            taken = take_answer(player, buffer + at, bytes - at);
        } else if (read_frame(buffer + at, bytes - at, &frame)) {
            taken = frame.whole;
            take_frame(player, &frame, at_ns);
        }
        if (taken == 0) break;
        at += taken;
    }
    if (player->fd < 0) return;
    player->rest_bytes = bytes - at;
    if (player->rest_bytes) {
        player->rest = realloc(player->rest, player->rest_bytes);
        memcpy(player->rest, buffer + at, player->rest_bytes);
    }
}

static void turn(int timeout_ms) {
    struct epoll_event events[512];
    int count = epoll_wait(epoll, events, 512, timeout_ms);
    for (int at = 0; at < count; at++) {
        struct player *player = events[at].data.ptr;
        if (player->stage == CONNECTING && events[at].events & EPOLLOUT) {
            struct epoll_event reading = {.events = EPOLLIN, .data.ptr = player};
            epoll_ctl(epoll, EPOLL_CTL_MOD, player->fd, &reading);
            connected(player);
        } else if (player->fd >= 0) {
            take_data(player);
        }
    }
    run_wheel(now_ns());
}

/* --- The report. */

static double worst_rate(double seconds) {
    uint32_t fewest = UINT32_MAX;
    for (int at = 0; at < wanted; at++)
        if (players[at].deltas < fewest) fewest = players[at].deltas;
    return fewest / seconds;
}

/* Between the first and the last player who was told of a tick; the p99 of all ticks. */
static double spread_ms(void) {
    static struct histogram spread;
    for (int at = 0; at < TICKS; at++)
        if (ticks[at].count == (uint32_t)wanted)
            count_us(&spread, (ticks[at].last_ns - ticks[at].first_ns) / 1000);
    return quantile_ms(&spread, 0.99);
}

static void report(double ramp_s, double seconds, double cpu_share) {
    printf("{\"event\": \"report\", \"connections\": %d, \"ramp_s\": %.3f, \"seconds\": %.3f, ",
           wanted, ramp_s, seconds);
    printf("\"deltas_each_s\": %.3f, \"deltas_each_s_worst\": %.3f, \"deltas\": %llu, ",
           (double)told.deltas / wanted / seconds, worst_rate(seconds),
           (unsigned long long)told.deltas);
    printf("\"delta_bytes\": %.1f, \"bytes_each_s\": %.1f, \"frames\": %llu, ",
           told.deltas ? (double)told.delta_bytes / (double)told.deltas : 0.0,
           (double)told.bytes / wanted / seconds, (unsigned long long)told.frames);
    printf("\"commands\": %llu, \"seen\": %llu, \"deferred\": %llu, \"overrun\": %llu, "
           "\"private\": %llu, \"lost\": %llu, \"turned_away\": %d, ",
           (unsigned long long)told.commands, (unsigned long long)told.seen,
           (unsigned long long)told.deferred, (unsigned long long)told.overrun,
           (unsigned long long)told.outcomes, (unsigned long long)told.lost, turned_away);
    printf("\"visible_ms_p50\": %.2f, \"visible_ms_p99\": %.2f, \"visible_ms_max\": %.2f, ",
           quantile_ms(&told.visible, 0.5), quantile_ms(&told.visible, 0.99),
           told.visible.count ? (double)told.visible.max_us / 1e3 : -1.0);
    printf("\"spread_ms_p99\": %.2f, ", spread_ms());
    printf("\"load_cpu_share\": %.3f, \"load_lag_ms_p99\": %.2f, \"load_lag_ms_max\": %.2f}\n",
           cpu_share, quantile_ms(&told.lag, 0.99), (double)told.lag.max_us / 1e3);
}

static void say(const char *event) {
    printf("{\"event\": \"%s\"}\n", event);
    fflush(stdout);
}

static void read_options(int argc, char **argv) {
    const char *named = option(argc, argv, "--dialect", "gs");
    dialect = strcmp(named, "gs") == 0 ? GS : strcmp(named, "plain") == 0 ? PLAIN : COLYSEUS;
    game = option(argc, argv, "--game", "bench10");
    path = option(argc, argv, "--path", "/ws");
    port = atoi(option(argc, argv, "--port", "7350"));
    wanted = atoi(option(argc, argv, "--connections", "100"));
    group_size = atoi(option(argc, argv, "--group", "10"));
    ramp = atoi(option(argc, argv, "--ramp", "100"));
    rate = atof(option(argc, argv, "--rate", "2"));
    plays = strcmp(option(argc, argv, "--play", "yes"), "yes") == 0;
    watches = strcmp(option(argc, argv, "--watch", "no"), "yes") == 0;
    if (wanted < 1 || group_size < 1) die("nobody is to play");
}

static void connect_all(void) {
    int64_t deadline_ns = now_ns() + RAMP_TIMEOUT_NS;
    wheel_ms = now_ns() / MS_NS;
    while (playing < wanted) {
        while (started < wanted && started - playing < ramp) {
            players[started].group = started / group_size;
            start(&players[started++]);
        }
        turn(1);
        if (now_ns() > deadline_ns) die("only %d of %d came in %s", playing, wanted, last_words);
    }
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    double seconds = atof(option(argc, argv, "--duration", "10"));
    double warm_s = atof(option(argc, argv, "--warm", "2"));
    players = calloc((size_t)wanted, sizeof *players);
    groups = calloc((size_t)wanted / (size_t)group_size + 1, sizeof *groups);
    raise_file_limit();
    epoll = epoll_create1(0);
    int64_t ramp_ns = now_ns();
    run_id = (uint32_t)(ramp_ns >> 10);
    connect_all();
    double ramp_s = (double)(now_ns() - ramp_ns) / 1e9;
    say("ready");

    int64_t from_ns = now_ns() + (int64_t)(warm_s * 1e9);
    while (now_ns() < from_ns) turn(1);
    say("begin");
    int64_t cpu_from_ns = cpu_ns();
    begin_ns = now_ns();
    end_ns = begin_ns + (int64_t)(seconds * 1e9);
    while (now_ns() < end_ns) turn(1);
    double took_s = (double)(now_ns() - begin_ns) / 1e9;
    double cpu_share = (double)(cpu_ns() - cpu_from_ns) / 1e9 / took_s;
    say("end");
    /* Nobody goes before the server's time was looked at: to take leave of all is work too. */
    int64_t drained_ns = end_ns + DRAIN_NS;
    while (now_ns() < drained_ns) turn(1);
    report(ramp_s, seconds, cpu_share);
    return 0;
}
