/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/bench/machine.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#define FOR_EVERY_LEVEL __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EVERY_LEVEL
#endif

double bench_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* --- reading --- */

const bench_read_way bench_read_ways[BENCH_READ_WAYS] = {{1, 0}, {1, 4096}, {4, 0}, {4, 2048}};

#define STEP                 256 /* bytes of one stream at a time */
#define BYTES_PER_NANOSECOND 10  /* roughly, for the pool */

typedef uint64_t lanes __attribute__((vector_size(64)));

/* Reads `steps` steps of each stream; streams lie `stride` bytes apart. The constants' loops are
 * unrolled, so that every load has a register of its own. */
#define READ_BODY(streams, ahead)                                                                  \
    lanes sums[STEP / 64] = {0};                                                                   \
    for (uint64_t i = 0; i < steps; i++) {                                                         \
        _Pragma("GCC unroll 4") for (uint32_t s = 0; s < (streams); s++)                           \
        {                                                                                          \
            const unsigned char *at = data + s * stride + i * STEP;                                \
            _Pragma("GCC unroll 4") for (uint32_t k = 0; k < STEP / 64; k++)                       \
            {                                                                                      \
                if ((ahead) > 0)                                                                   \
                    __builtin_prefetch(at + (ahead) + 64 * k);                                     \
                sums[k] ^= *(const lanes *)(const void *)(at + 64 * k);                            \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    const lanes sum = sums[0] ^ sums[1] ^ sums[2] ^ sums[3];                                       \
    return sum[0] ^ sum[1] ^ sum[2] ^ sum[3] ^ sum[4] ^ sum[5] ^ sum[6] ^ sum[7];

typedef uint64_t (*read_function)(const unsigned char *data, uint64_t stride, uint64_t steps);

FOR_EVERY_LEVEL static uint64_t read_1(const unsigned char *data, uint64_t stride,
                                       uint64_t steps){READ_BODY(1, 0)}

FOR_EVERY_LEVEL static uint64_t
    read_1_ahead(const unsigned char *data, uint64_t stride, uint64_t steps){READ_BODY(1, 4096)}

FOR_EVERY_LEVEL static uint64_t
    read_4(const unsigned char *data, uint64_t stride, uint64_t steps){READ_BODY(4, 0)}

FOR_EVERY_LEVEL static uint64_t
    read_4_ahead(const unsigned char *data, uint64_t stride, uint64_t steps)
{
    READ_BODY(4, 2048)
}

/* What the threads of a pool read. */
typedef struct read_job {
    const unsigned char *data;
    uint64_t bytes;
    uint32_t streams;
    read_function read;
    _Atomic uint64_t *result;
} read_job;

static void read_part(const void *arguments, uint64_t part, uint64_t parts)
{
    const read_job *job = arguments;
    const uint64_t bytes = job->bytes / parts;
    const uint64_t stride = bytes / job->streams / STEP * STEP;
    const uint64_t sum = job->read(job->data + part * bytes / 64 * 64, stride, stride / STEP);
    atomic_fetch_xor(job->result, sum);
}

uint64_t bench_read(const bench_read_way *way, const unsigned char *data, uint64_t bytes,
                    rt_pool *pool, uint32_t threads)
{
    const read_function functions[2][2] = {{read_1, read_1_ahead}, {read_4, read_4_ahead}};
    _Atomic uint64_t result = 0;
    const read_job job = {.data = data,
                          .bytes = bytes,
                          .streams = way->streams,
                          .read = functions[way->streams > 1][way->prefetch > 0],
                          .result = &result};
    if (threads == 1)
        read_part(&job, 0, 1);
    else
        rt_pool_share(pool, read_part, &job, bytes / BYTES_PER_NANOSECOND);
    return result;
}

/* --- multiplying --- */

#define PEAK_ROUNDS 2000000
#define CHAINS      16 /* independent sums: more than latency times instructions per cycle */

#if defined(__x86_64__)
/* Tells the compiler that a sum has changed, so that no round can be left out. Every loop over the
 * sums is unrolled: then each has a register. */
#define KEEP(sum) __asm__ volatile("" : "+v"(sum))

__attribute__((target("avx512f"))) static float multiply_f32_512(void)
{
    __m512 sums[CHAINS], factor = _mm512_set1_ps(0.5f), result = _mm512_setzero_ps();
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; i++)
        sums[i] = _mm512_set1_ps((float)i);
    for (int round = 0; round < PEAK_ROUNDS; round++)
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++) {
            sums[i] = _mm512_fmadd_ps(factor, factor, sums[i]);
            KEEP(sums[i]);
        }
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; i++)
        result = _mm512_add_ps(result, sums[i]);
    return _mm512_reduce_add_ps(result);
}

__attribute__((target("avx2,fma"))) static float multiply_f32_256(void)
{
    __m256 sums[CHAINS - 4], factor = _mm256_set1_ps(0.5f), result = _mm256_setzero_ps();
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS - 4; i++)
        sums[i] = _mm256_set1_ps((float)i);
    for (int round = 0; round < PEAK_ROUNDS; round++)
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS - 4; i++) {
            sums[i] = _mm256_fmadd_ps(factor, factor, sums[i]);
            KEEP(sums[i]);
        }
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS - 4; i++)
        result = _mm256_add_ps(result, sums[i]);
    return result[0] + result[7];
}

__attribute__((target("avx512f,avx512vnni"))) static float multiply_i8_512(void)
{
    __m512i sums[CHAINS], factor = _mm512_set1_epi8(3), result = _mm512_setzero_si512();
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; i++)
        sums[i] = _mm512_set1_epi32(i);
    for (int round = 0; round < PEAK_ROUNDS; round++)
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++) {
            sums[i] = _mm512_dpbusd_epi32(sums[i], factor, factor);
            KEEP(sums[i]);
        }
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; i++)
        result = _mm512_add_epi32(result, sums[i]);
    return (float)_mm512_reduce_add_epi32(result);
}

typedef struct peak_row {
    bench_peak peak;
    bool (*is_there)(void);
    float (*run)(void);
    int per_round;
} peak_row;

static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f");
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_vnni(void)
{
    return __builtin_cpu_supports("avx512vnni");
}

/* The first row that fits is the widest. */
static const peak_row peaks[] = {{BENCH_PEAK_F32, has_avx512, multiply_f32_512, 16 * CHAINS},
                                 {BENCH_PEAK_F32, has_avx2, multiply_f32_256, 8 * (CHAINS - 4)},
                                 {BENCH_PEAK_I8, has_vnni, multiply_i8_512, 64 * CHAINS}};

static const peak_row *find_peak(bench_peak peak)
{
    for (size_t i = 0; i < sizeof peaks / sizeof peaks[0]; i++)
        if (peaks[i].peak == peak && peaks[i].is_there())
            return &peaks[i];
    return NULL;
}

double bench_peak_multiplications(bench_peak peak)
{
    const peak_row *row = find_peak(peak);
    return row == NULL ? 0 : (double)row->per_round * PEAK_ROUNDS;
}

float bench_run_peak(bench_peak peak)
{
    const peak_row *row = find_peak(peak);
    return row == NULL ? 0 : row->run();
}
#else
double bench_peak_multiplications(bench_peak peak)
{
    (void)peak;
    return 0;
}

float bench_run_peak(bench_peak peak)
{
    (void)peak;
    return 0;
}
#endif

/* --- a neighbour --- */

static void compute_without_end(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(1, &set);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        _exit(1);
    for (uint64_t number = 1;; number = number * 6364136223846793005u + 1)
        __asm__ volatile("" : "+r"(number));
}

pid_t bench_start_neighbour(void)
{
    const pid_t neighbour = fork();
    if (neighbour == 0)
        compute_without_end();
    return neighbour;
}

void bench_stop_neighbour(pid_t neighbour)
{
    if (neighbour <= 0)
        return;
    kill(neighbour, SIGKILL);
    waitpid(neighbour, NULL, 0);
}
