/* Just enough of WebSocket and MessagePack: masked frames out, frames in, ints and short texts. */

#ifndef WIRE_H
#define WIRE_H

#include "common.h"

enum opcode { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

struct frame {
    int opcode;
    const unsigned char *payload;
    size_t bytes, whole; /* Of the payload, and with its head. */
};

/* Reads one frame from a server. Returns 0 if it is not whole yet. */
static inline int read_frame(const unsigned char *data, size_t bytes, struct frame *frame) {
    if (bytes < 2) return 0;
    size_t length = data[1] & 0x7f, head = 2;
    if (length == 126) {
        head = 4;
        if (bytes < head) return 0;
        length = (size_t)data[2] << 8 | data[3];
    } else if (length == 127) {
        head = 10;
        if (bytes < head) return 0;
        length = 0;
        for (int at = 2; at < 10; at++) length = length << 8 | data[at];
    }
    if (bytes < head + length) return 0;
    frame->opcode = data[0] & 0x0f;
    frame->payload = data + head;
    frame->bytes = length;
    frame->whole = head + length;
    return 1;
}

/* Something that is being written: a message, and the frame around it. */
struct message {
    unsigned char bytes[4096];
    size_t length;
};

static inline void put_byte(struct message *to, unsigned byte) {
    if (to->length == sizeof to->bytes) die("a message is too long");
    to->bytes[to->length++] = (unsigned char)byte;
}

static inline void put_raw(struct message *to, const void *data, size_t bytes) {
    if (to->length + bytes > sizeof to->bytes) die("a message is too long");
    memcpy(to->bytes + to->length, data, bytes);
    to->length += bytes;
}

static inline void put_u32(struct message *to, uint32_t value) {
    put_byte(to, 0xce);
    for (int shift = 24; shift >= 0; shift -= 8) put_byte(to, value >> shift & 0xff);
}

static inline void put_text(struct message *to, const char *text) {
    put_byte(to, 0xa0 | (unsigned)strlen(text)); /* Up to 31 bytes. */
    put_raw(to, text, strlen(text));
}

/* Makes the message a masked frame. */
static inline void mask_frame(struct message *message, enum opcode opcode) {
    unsigned char payload[sizeof message->bytes];
    size_t bytes = message->length;
    memcpy(payload, message->bytes, bytes);
    uint32_t random = chance();
    unsigned char mask[4];
    memcpy(mask, &random, 4);
    message->length = 0;
    put_byte(message, 0x80 | (unsigned)opcode);
    if (bytes < 126) {
        put_byte(message, 0x80 | (unsigned)bytes);
    } else {
        put_byte(message, 0x80 | 126);
        put_byte(message, (unsigned)bytes >> 8);
        put_byte(message, (unsigned)bytes & 0xff);
    }
    put_raw(message, mask, 4);
    for (size_t at = 0; at < bytes; at++) put_byte(message, payload[at] ^ mask[at & 3]);
}

/* Returns how many bytes the MessagePack int at `data` has; 0 if it is none. */
static inline size_t int_bytes(const unsigned char *data, const unsigned char *end) {
    size_t bytes = 0;
    if (data >= end) return 0;
    if (*data < 0x80 || *data >= 0xe0) bytes = 1;
    else if (*data >= 0xcc && *data <= 0xd3) bytes = 1 + ((size_t)1 << (*data & 3));
    return data + bytes <= end ? bytes : 0;
}

/* Reads a MessagePack int that is not negative and moves `at` behind it. */
static inline uint64_t take_int(const unsigned char **at, const unsigned char *end) {
    size_t bytes = int_bytes(*at, end);
    if (bytes == 0) die("an int was expected");
    uint64_t value = bytes == 1 ? **at : 0;
    for (size_t byte = 1; byte < bytes; byte++) value = value << 8 | (*at)[byte];
    *at += bytes;
    return value;
}

/* Reads a MessagePack text, moves `at` behind it, and returns how many bytes it has in all. */
static inline size_t take_text(const unsigned char **at, const unsigned char *end) {
    const unsigned char *data = *at;
    size_t head = 1, length = 0;
    if (data + 3 > end) die("a text was expected");
    if (*data >= 0xa0 && *data <= 0xbf) length = *data & 0x1f;
    else if (*data == 0xd9) head = 2, length = data[1];
    else if (*data == 0xda) head = 3, length = (size_t)data[1] << 8 | data[2];
    else die("a text was expected");
    if (data + head + length > end) die("a text was expected");
    *at += head + length;
    return head + length;
}

#endif
