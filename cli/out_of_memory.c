/* LLVM is C++ without exceptions: when memory runs out inside it, the process is aborted with a
 * message for its developers, and its C interface has no say in that. So the two handlers that C++
 * and LLVM have for this are looked up by their linkage names; where they are not found, all stays
 * as it was. Temporary files have no name until they are complete, so that none is left behind.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

static void end(void)
{
    static const char sentence[] =
        "tandem: memory ran out while code was being made; a smaller model (--layers), another "
        "--cpu than multi, or more memory is needed\n";
    if (write(STDERR_FILENO, sentence, sizeof sentence - 1) < 0)
        _exit(1);
    _exit(1);
}

static void end_llvm(void *self, const char *reason, bool diagnostics)
{
    (void)self;
    (void)reason;
    (void)diagnostics;
    end();
}

void cli_end_when_out_of_memory(void)
{
    void (*(*set_new_handler)(void (*)(void)))(void);
    void (*install)(void (*)(void *, const char *, bool), void *);
    void *symbol = dlsym(RTLD_DEFAULT, "_ZSt15set_new_handlerPFvvE");
    if (symbol != NULL) {
        memcpy(&set_new_handler, &symbol, sizeof symbol);
        set_new_handler(end);
    }
    symbol = dlsym(RTLD_DEFAULT, "_ZN4llvm31install_bad_alloc_error_handlerEPFvPvPKcbES0_");
    if (symbol != NULL) {
        memcpy(&install, &symbol, sizeof symbol);
        install(end_llvm, NULL);
    }
}
