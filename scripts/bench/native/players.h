/* The players of the load client, what is asked of them, what they came to, and who is due next. */

#ifndef PLAYERS_H
#define PLAYERS_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"
#include "wire.h"

/* Bytes for a field of the command, so that its message has 40. */
#define PADDING "\xc4\x0f" "0123456789abcde"
#define OPEN_MAX 8           /* Commands of one player that were not seen yet. */
#define WHEEL_SLOTS 8192     /* Milliseconds: further ahead is nothing due. */
#define BUFFER_BYTES 262144
#define TICKS 4096
#define RAMP_TIMEOUT_NS (90 * SECOND_NS)
#define STUCK_NS (15 * SECOND_NS) /* For so long nobody came in: nobody will. */
#define RETRY_NS (250 * MS_NS) /* After an answer that there is no place just now. */
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
    unsigned char *token; /* As it came in Welcome, when there will be a storm. */
    size_t token_bytes;
    uint64_t closed_tick;
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
static int port, wanted, group_size, ramp, plays, watches, storms, epoll;
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
    uint64_t gapless;
    struct histogram visible, lag, back;
} told;

static int64_t storm_ns; /* When all connections broke. */

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
        if (++turned_away > 10 * wanted) die("no way in: %s %s", why, last_words);
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
    if (at_ms <= wheel_ms) at_ms = wheel_ms + 1; /* The slot of now may be under way. */
    if (at_ms >= wheel_ms + WHEEL_SLOTS) at_ms = wheel_ms + WHEEL_SLOTS - 1;
    player->due_ns = due_ns;
    player->next = wheel[at_ms % WHEEL_SLOTS];
    wheel[at_ms % WHEEL_SLOTS] = player;
}

static int64_t next_due_ns(int64_t due_ns) {
    /* Half to one and a half times the interval: players do not march in step. */
    return due_ns + (int64_t)(SECOND_NS / rate * (0.5 + chance() / 4294967296.0));
}

#endif
