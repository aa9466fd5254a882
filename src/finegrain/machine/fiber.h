/* Fibers: a stack, and a switch from one to another in a few instructions.
 *
 * A context is the saved stack pointer of a fiber that is not running; the registers that a C function must
 * preserve lie on its stack.  Include in one translation unit only.
 */
#ifndef FINEGRAIN_FIBER_H
#define FINEGRAIN_FIBER_H

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef void (*fiber_entry)(void *argument);

#if defined(__x86_64__)

void finegrain_fiber_switch(void **save, void *load) __attribute__((visibility("hidden")));
void finegrain_fiber_start(void) __attribute__((visibility("hidden")));

__asm__(".text\n"
        ".p2align 4\n"
        ".globl finegrain_fiber_switch\n"
        ".hidden finegrain_fiber_switch\n"
        ".type finegrain_fiber_switch, @function\n"
        "finegrain_fiber_switch:\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  movq %rsp, (%rdi)\n"
        "  movq %rsi, %rsp\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
        "  ret\n"
        ".size finegrain_fiber_switch, .-finegrain_fiber_switch\n"
        ".globl finegrain_fiber_start\n"
        ".hidden finegrain_fiber_start\n"
        ".type finegrain_fiber_start, @function\n"
        "finegrain_fiber_start:\n"
        "  movq %r12, %rdi\n"
        "  call *%r13\n"
        "  ud2\n"
        ".size finegrain_fiber_start, .-finegrain_fiber_start\n");

static inline void *fiber_prepare(char *top, fiber_entry entry, void *argument) {
  void **sp = (void **)((uintptr_t)top & ~(uintptr_t)15);
  *--sp = NULL;
  *--sp = NULL;
  *--sp = (void *)finegrain_fiber_start; /* return address of the first switch */
  *--sp = NULL;                          /* rbp */
  *--sp = NULL;                          /* rbx */
  *--sp = argument;                      /* r12 */
  *--sp = (void *)entry;                 /* r13 */
  *--sp = NULL;                          /* r14 */
  *--sp = NULL;                          /* r15 */
  return sp;
}

static inline void fiber_switch(void **save, void *load) { finegrain_fiber_switch(save, load); }

#elif defined(__aarch64__)

void finegrain_fiber_switch(void **save, void *load) __attribute__((visibility("hidden")));
void finegrain_fiber_start(void) __attribute__((visibility("hidden")));

__asm__(".text\n"
        ".p2align 4\n"
        ".globl finegrain_fiber_switch\n"
        ".hidden finegrain_fiber_switch\n"
        ".type finegrain_fiber_switch, %function\n"
        "finegrain_fiber_switch:\n"
        "  sub sp, sp, #160\n"
        "  stp x19, x20, [sp, #0]\n  stp x21, x22, [sp, #16]\n  stp x23, x24, [sp, #32]\n"
        "  stp x25, x26, [sp, #48]\n  stp x27, x28, [sp, #64]\n  stp x29, x30, [sp, #80]\n"
        "  stp d8, d9, [sp, #96]\n  stp d10, d11, [sp, #112]\n  stp d12, d13, [sp, #128]\n"
        "  stp d14, d15, [sp, #144]\n"
        "  mov x9, sp\n"
        "  str x9, [x0]\n"
        "  mov sp, x1\n"
        "  ldp x19, x20, [sp, #0]\n  ldp x21, x22, [sp, #16]\n  ldp x23, x24, [sp, #32]\n"
        "  ldp x25, x26, [sp, #48]\n  ldp x27, x28, [sp, #64]\n  ldp x29, x30, [sp, #80]\n"
        "  ldp d8, d9, [sp, #96]\n  ldp d10, d11, [sp, #112]\n  ldp d12, d13, [sp, #128]\n"
        "  ldp d14, d15, [sp, #144]\n"
        "  add sp, sp, #160\n"
        "  ret\n"
        ".size finegrain_fiber_switch, .-finegrain_fiber_switch\n"
        ".globl finegrain_fiber_start\n"
        ".hidden finegrain_fiber_start\n"
        ".type finegrain_fiber_start, %function\n"
        "finegrain_fiber_start:\n"
        "  mov x0, x19\n"
        "  blr x20\n"
        "  brk #0\n"
        ".size finegrain_fiber_start, .-finegrain_fiber_start\n");

static inline void *fiber_prepare(char *top, fiber_entry entry, void *argument) {
  void **sp = (void **)(((uintptr_t)top & ~(uintptr_t)15) - 160);
  memset(sp, 0, 160);
  sp[0] = argument;                       /* x19 */
  sp[1] = (void *)entry;                  /* x20 */
  sp[11] = (void *)finegrain_fiber_start; /* x30 */
  return sp;
}

static inline void fiber_switch(void **save, void *load) { finegrain_fiber_switch(save, load); }

#else /* any other processor: ucontext, several times slower */

#include <ucontext.h>

typedef struct {
  ucontext_t context;
  fiber_entry entry;
  void *argument;
} fiber_record;

static void fiber_start(unsigned int high, unsigned int low) {
  fiber_record *r = (fiber_record *)(uintptr_t)(((uint64_t)high << 32) | low);
  r->entry(r->argument);
}

/* The record lies at the top of the stack; the machine's bound below allows for it. */
static inline void *fiber_prepare(char *top, fiber_entry entry, void *argument) {
  fiber_record *r = (fiber_record *)(((uintptr_t)top - sizeof(fiber_record)) & ~(uintptr_t)63);
  uint64_t address = (uint64_t)(uintptr_t)r;
  getcontext(&r->context);
  r->entry = entry;
  r->argument = argument;
  r->context.uc_link = NULL;
  r->context.uc_stack.ss_sp = (char *)r - 48 * 1024;
  r->context.uc_stack.ss_size = 48 * 1024;
  makecontext(&r->context, (void (*)(void))fiber_start, 2, (unsigned)(address >> 32), (unsigned)address);
  return r;
}

static inline void fiber_switch(void **save, void *load) {
  ucontext_t here; /* lives on the stack that is left, as long as it is left */
  *save = &here;
  swapcontext(&here, (ucontext_t *)load);
}

#endif

/* Stacks come from one reserved region, each with an inaccessible page below it.  A fiber that overruns its stack
 * hits that page; the handler, on a stack of its own, says so and ends the process. */
static __thread char *fiber_region;
static __thread size_t fiber_region_size;
static __thread size_t fiber_stride;
static __thread stack_t fiber_old_stack;
static __thread char *fiber_signal_stack;
static struct sigaction fiber_old_segv; /* these two under the GIL */
static int fiber_watchers;              /* threads of the process that run fibers */

static void fiber_segv(int number, siginfo_t *info, void *context) {
  char *address = (char *)info->si_addr;
  (void)context;
  if (address >= fiber_region && address < fiber_region + fiber_region_size &&
      (size_t)(address - fiber_region) % fiber_stride < 4096) {
    char text[160];
    int n = snprintf(text, sizeof text,
                     "finegrain: a simulated thread overran its stack of %zu bytes (stack %zu)\n",
                     fiber_stride - 4096, (size_t)(address - fiber_region) / fiber_stride);
    if (write(2, text, n > 0 ? (size_t)n : 0) < 0) {
    }
    signal(SIGABRT, SIG_DFL);
    abort();
  }
  sigaction(number, &fiber_old_segv, NULL); /* not ours: let it happen again under the old rule */
}

static inline int fiber_watch(char *region, size_t size, size_t stride) {
  struct sigaction action;
  stack_t stack;
  fiber_region = region;
  fiber_region_size = size;
  fiber_stride = stride;
  fiber_signal_stack = (char *)malloc(65536);
  if (fiber_signal_stack == NULL) return -1;
  memset(&stack, 0, sizeof stack);
  stack.ss_sp = fiber_signal_stack;
  stack.ss_size = 65536;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = fiber_segv;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  if (sigaltstack(&stack, &fiber_old_stack) != 0) return -1;
  return fiber_watchers++ == 0 ? sigaction(SIGSEGV, &action, &fiber_old_segv) : 0;
}

static inline void fiber_unwatch(void) {
  if (--fiber_watchers == 0) sigaction(SIGSEGV, &fiber_old_segv, NULL);
  sigaltstack(&fiber_old_stack, NULL);
  free(fiber_signal_stack);
  fiber_signal_stack = NULL;
}

#endif
