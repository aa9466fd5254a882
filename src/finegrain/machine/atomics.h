/* Atomic operations on lock words, and branch hints: the same instructions on every machine. */
#ifndef FINEGRAIN_ATOMICS_H
#define FINEGRAIN_ATOMICS_H

#include <stdint.h>

static inline uint64_t atomic_load_acq(uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }

static inline void atomic_store_rel(uint64_t *word, uint64_t value) {
  __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static inline int atomic_cas_acq(uint64_t *word, uint64_t expected, uint64_t value) {
  return __atomic_compare_exchange_n(word, &expected, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static inline uint64_t atomic_fetchadd_raw(uint64_t *word, uint64_t value) {
  return __atomic_fetch_add(word, value, __ATOMIC_ACQ_REL);
}

static inline uint64_t atomic_swap_raw(uint64_t *word, uint64_t value) {
  return __atomic_exchange_n(word, value, __ATOMIC_ACQ_REL);
}

#define finegrain_likely(condition) __builtin_expect(!!(condition), 1)
#define finegrain_unlikely(condition) __builtin_expect(!!(condition), 0)

#endif
