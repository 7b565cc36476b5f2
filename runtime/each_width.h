/* The same loops for each width of registers, and the choice among them at run time.
 *
 * SPDX-License-Identifier: MIT
 *
 * A file defines RT_LOOPS, the header with its loops, and includes this one, which includes that
 * one once for each width that the processor may have, with
 *
 *     REGISTER_BYTES  16, 32 or 64
 *     LOOP(name)      names what is defined for this width
 *     TARGET          attribute of a function that may use such registers
 *     INLINE          the same of one that its callers take in
 *     INDEPENDENT     before a loop whose iterations do not depend on each other
 *
 * The loops end in a table of functions LOOP(NAME) of one type; RT_WIDEST(NAME) is a pointer to the
 * table for the widest registers that this processor has. What is computed must not depend on the
 * width. */
#ifdef __clang__
#define AVX512 "avx512f,avx512bw,avx512dq"
#define INDEPENDENT
#else
#define AVX512      "avx512f,avx512bw,avx512dq,prefer-vector-width=512"
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

#define INLINE TARGET static inline __attribute__((always_inline))

#define REGISTER_BYTES 16
#define LOOP(name)     name##_16
#define TARGET
#include RT_LOOPS
#undef REGISTER_BYTES
#undef LOOP
#undef TARGET

#if defined(__x86_64__)
#define REGISTER_BYTES 32
#define LOOP(name)     name##_32
#define TARGET         __attribute__((target("avx2")))
#include RT_LOOPS
#undef REGISTER_BYTES
#undef LOOP
#undef TARGET

#define REGISTER_BYTES 64
#define LOOP(name)     name##_64
#define TARGET         __attribute__((target(AVX512)))
#include RT_LOOPS
#undef REGISTER_BYTES
#undef LOOP
#undef TARGET

#define RT_WIDEST(name)                                                                            \
    (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") ? &name##_64         \
     : __builtin_cpu_supports("avx2")                                         ? &name##_32         \
                                                                              : &name##_16)
#else
#define RT_WIDEST(name) (&name##_16)
#endif

#undef INLINE
