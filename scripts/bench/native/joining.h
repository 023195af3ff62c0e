/* The way of a player into a room: connect, upgrade, say hello, join; and back after a break. */

#ifndef JOINING_H
#define JOINING_H

#include "players.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static void enter(struct player *player) {
    player->stage = PLAYING;
    playing++;
    if (storm_ns) count_us(&told.back, (now_ns() - storm_ns) / 1000);
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

static void come_back(struct player *player) {
    struct group *group = &groups[player->group];
    struct message message = {.length = 0};
    player->stage = JOINING;
    put_raw(&message, "\x95\x05\x01", 3);
    put_raw(&message, group->room, group->room_bytes);
    put_u32(&message, (uint32_t)player->closed_tick);
    put_byte(&message, 0xc2);
    send_message(player, &message, BINARY);
}

/* [1, version, account, name, token, ...]; an empty token says that the old one holds. */
static void keep_token(struct player *player, const struct frame *frame) {
    const unsigned char *at = frame->payload + 2, *end = frame->payload + frame->bytes;
    take_int(&at, end);
    take_int(&at, end);
    take_text(&at, end);
    const unsigned char *token = at;
    size_t bytes = take_text(&at, end);
    if (bytes == 1) return;
    player->token = realloc(player->token, bytes);
    player->token_bytes = bytes;
    memcpy(player->token, token, bytes);
}

/* [4, request, room, code, game, rules_version, seat, highest_number, resume, reason, handle] */
static void joined(struct player *player, const struct frame *frame) {
    const unsigned char *at = frame->payload + 2, *end = frame->payload + frame->bytes;
    take_int(&at, end);
    take_int(&at, end);
    take_text(&at, end);
    take_text(&at, end);
    take_int(&at, end);
    at += int_bytes(at, end); /* The seat of who watches is negative. */
    take_int(&at, end);
    if (storm_ns) told.gapless += take_int(&at, end);
    enter(player);
}

static void welcomed(struct player *player) {
    if (!plays) {
        enter(player);
    } else if (storm_ns) {
        come_back(player);
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
    put_raw(&message, "\x95\x01\x91\x01", 4);
    if (player->token_bytes) put_raw(&message, player->token, player->token_bytes);
    else put_text(&message, "");
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

#endif
