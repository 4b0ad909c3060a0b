/* A place in a fiber, and how to leave one for another.
 *
 * swapcontext asks the kernel for the signal mask each time, which took most of a simulation; a jump does not.
 * AddressSanitizer follows swapcontext alone.
 */
#ifndef FIBERS_H
#define FIBERS_H

#include <csetjmp>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
using Place = ucontext_t;
inline void jump(Place &from, Place &to) { swapcontext(&from, &to); }
inline void enter(Place &from, ucontext_t &to) { swapcontext(&from, &to); }
#else
using Place = jmp_buf;
inline void jump(Place &from, Place &to) {
    if (!_setjmp(from)) _longjmp(to, 1);
}
inline void enter(Place &from, ucontext_t &to) {
    if (!_setjmp(from)) setcontext(&to);
}
#endif

#endif
