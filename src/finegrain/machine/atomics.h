/* Atomic operations on lock words, raw spin locks, and branch hints: the same instructions on every machine. */
#ifndef FINEGRAIN_ATOMICS_H
#define FINEGRAIN_ATOMICS_H

#include <stdint.h>

static inline uint64_t atomic_load_acq(uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }

static inline uint8_t atomic_load8(uint8_t *byte) { return __atomic_load_n(byte, __ATOMIC_ACQUIRE); }

static inline void atomic_store8(uint8_t *byte, uint8_t value) { __atomic_store_n(byte, value, __ATOMIC_RELEASE); }

static inline int atomic_load_int(int *value) { return __atomic_load_n(value, __ATOMIC_ACQUIRE); }

static inline void *atomic_load_pointer(void **pointer) { return __atomic_load_n(pointer, __ATOMIC_ACQUIRE); }

static inline void atomic_store_pointer(void **pointer, void *value) {
  __atomic_store_n(pointer, value, __ATOMIC_RELEASE);
}

static inline void atomic_store_rel(uint64_t *word, uint64_t value) {
  __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static inline int atomic_cas_acq(uint64_t *word, uint64_t expected, uint64_t value) {
  return __atomic_compare_exchange_n(word, &expected, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static inline uint64_t atomic_fetchadd_raw(uint64_t *word, uint64_t value) {
  return __atomic_fetch_add(word, value, __ATOMIC_ACQ_REL);
}

static inline uint64_t atomic_fetchor_raw(uint64_t *word, uint64_t bits) {
  return __atomic_fetch_or(word, bits, __ATOMIC_ACQ_REL);
}

static inline uint64_t atomic_swap_raw(uint64_t *word, uint64_t value) {
  return __atomic_exchange_n(word, value, __ATOMIC_ACQ_REL);
}

static inline void cpu_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static inline int raw_spin_try(uint64_t *word) {
  return __atomic_load_n(word, __ATOMIC_RELAXED) == 0 && __atomic_exchange_n(word, 1, __ATOMIC_ACQUIRE) == 0;
}

static inline void raw_spin_unlock(uint64_t *word) { __atomic_store_n(word, 0, __ATOMIC_RELEASE); }

#define finegrain_likely(condition) __builtin_expect(!!(condition), 1)
#define finegrain_unlikely(condition) __builtin_expect(!!(condition), 0)

#endif
