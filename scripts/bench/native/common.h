/* What both programs share: time, chance, counting, options, giving up. */

#ifndef COMMON_H
#define COMMON_H

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define SECOND_NS 1000000000LL
#define MS_NS 1000000LL

__attribute__((noreturn, format(printf, 1, 2))) static inline void die(const char *form, ...) {
    va_list arguments;
    va_start(arguments, form);
    vfprintf(stderr, form, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static inline int64_t clock_ns(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return at.tv_sec * SECOND_NS + at.tv_nsec;
}

static inline int64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
static inline int64_t cpu_ns(void) { return clock_ns(CLOCK_PROCESS_CPUTIME_ID); }

/* xorshift64*: the same numbers on every run. */
static uint64_t chance_state = 0x9e3779b97f4a7c15ULL;

static inline uint32_t chance(void) {
    chance_state ^= chance_state >> 12;
    chance_state ^= chance_state << 25;
    chance_state ^= chance_state >> 27;
    return (uint32_t)((chance_state * 0x2545f4914f6cdd1dULL) >> 32);
}

/* Counts of microseconds, within 1.6 % (64 buckets for each doubling). */
#define BUCKETS (64 * 40)

struct histogram {
    uint64_t count;
    int64_t max_us;
    uint32_t buckets[BUCKETS];
};

static inline void count_us(struct histogram *histogram, int64_t us) {
    if (us < 0) us = 0;
    if (us > histogram->max_us) histogram->max_us = us;
    int exponent = us < 128 ? 6 : 63 - __builtin_clzll((unsigned long long)us);
    int64_t bucket = (int64_t)(exponent - 6) * 64 + (us >> (exponent - 6));
    histogram->buckets[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    histogram->count++;
}

/* Returns the milliseconds below which a share of what was counted lies; -1 if nothing was. */
static inline double quantile_ms(const struct histogram *histogram, double share) {
    if (histogram->count == 0) return -1;
    uint64_t wanted = (uint64_t)(share * (double)(histogram->count - 1)) + 1, seen = 0;
    for (int bucket = 0; bucket < BUCKETS; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen < wanted) continue;
        int shift = bucket < 128 ? 0 : bucket / 64 - 1;
        int64_t upper = ((int64_t)(bucket - shift * 64 + 1) << shift) - 1;
        return (double)(upper < histogram->max_us ? upper : histogram->max_us) / 1e3;
    }
    return (double)histogram->max_us / 1e3;
}

/* Returns what follows `name` on the command line, or `otherwise`. */
static inline const char *option(int argc, char **argv, const char *name, const char *otherwise) {
    for (int at = 1; at + 1 < argc; at += 2)
        if (strcmp(argv[at], name) == 0) return argv[at + 1];
    return otherwise;
}

static inline void raise_file_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

#endif
