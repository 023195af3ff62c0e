/* Many players in one process: joins rooms, sends commands, counts what comes back, says how late.

   load --dialect gs|plain|colyseus --port P --connections N --group G --rate R --duration S
        [--game NAME] [--warm S] [--ramp K] [--play yes|no] [--watch yes|no] [--path /ws]
        [--storm yes|no]

   gs:       our protocol, see protocol/README.md. The first of each group makes a room of the game,
             the others join it by its id; with --watch yes they take no seat.
   plain:    WebSocket at /<group>; a command is [1, value] in MessagePack.
   colyseus: joinOrCreate of the room "bench" with {group}; a command is the message "set".

   With --play no nobody joins anything: the connections count the frames that come by themselves,
   and send commands of 40 bytes to a room that they do not see.

   With --storm yes all connections break at once before the window begins, and all come back at
   once, each with its token and from the last tick that it saw. Nobody sends commands then.

   Every command carries a number of 32 bits that occurs nowhere else. It is seen when its bytes
   stand in a frame that tells of changes; times run from the moment at which it was to be sent.
   Lines of JSON on stdout: ready (all have joined), begin, end, and the report. */

#include "joining.h"

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

static uint64_t tick_of(const struct frame *frame) {
    /* [6, handle, tick, step, changes] */
    const unsigned char *at = frame->payload + 2, *end = frame->payload + frame->bytes;
    take_int(&at, end);
    return take_int(&at, end);
}

static void note_tick(uint64_t number, int64_t at_ns) {
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
        if (dialect == GS && plays && group_size >= wanted) note_tick(tick_of(frame), at_ns);
    }
    if (storms) player->closed_tick = tick_of(frame);
    if (player->open_count) look_for_own(player, frame, at_ns);
}

static void take_gs(struct player *player, const struct frame *frame, int64_t at_ns) {
    struct message message = {.length = 0};
    switch (frame->bytes > 1 ? frame->payload[1] : 0) {
    case 1:
        if (storms) keep_token(player, frame);
        welcomed(player);
        break;
    case 3: answered(player, frame); break;
    case 4: joined(player, frame); break;
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
    printf("\"spread_ms_p99\": %.2f, \"gapless\": %llu, \"back_ms_p50\": %.1f, "
           "\"back_ms_max\": %.1f, ",
           spread_ms(), (unsigned long long)told.gapless, quantile_ms(&told.back, 0.5),
           quantile_ms(&told.back, 1.0));
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
    storms = strcmp(option(argc, argv, "--storm", "no"), "yes") == 0;
    if (wanted < 1 || group_size < 1) die("nobody is to play");
    if (storms && (dialect != GS || !plays || rate > 0)) die("no storm: it needs gs and rate 0");
}

static void connect_all(void) {
    int64_t deadline_ns = now_ns() + RAMP_TIMEOUT_NS, came_ns = now_ns();
    int came = playing;
    wheel_ms = now_ns() / MS_NS;
    while (playing < wanted) {
        while (started < wanted && started - playing < ramp) {
            players[started].group = started / group_size;
            start(&players[started++]);
        }
        turn(1);
        if (playing > came) came = playing, came_ns = now_ns();
        if (now_ns() > deadline_ns || now_ns() > came_ns + STUCK_NS)
            die("only %d of %d came in %s", playing, wanted, last_words);
    }
}

/* Commands begin when all are there: else those who came first could keep the others out. */
static void begin_commands(void) {
    for (int at = 0; rate > 0 && at < wanted; at++)
        put_on_wheel(&players[at],
                     now_ns() + (int64_t)(SECOND_NS / rate * (chance() / 4294967296.0)));
}

static void storm(void) {
    storm_ns = now_ns();
    for (int at = 0; at < wanted; at++) {
        close(players[at].fd);
        players[at].rest_bytes = 0;
        players[at].stage = NEW;
    }
    started = playing = 0;
    ramp = wanted;
    connect_all();
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

    begin_commands();
    int64_t from_ns = now_ns() + (int64_t)(warm_s * 1e9);
    while (now_ns() < from_ns) turn(1);
    if (storms) storm();
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
