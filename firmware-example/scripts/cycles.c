/* A QEMU plugin that counts the instructions and models the cycles of regions of Thumb code.
 *
 *   cc -O2 -shared -fPIC -o cycles.so cycles.c
 *   qemu-system-arm -plugin cycles.so,core=m4,out=FILE ...
 *
 * A region runs from a `mov r10, r10` to the next `mov r11, r11`; FILE gets a line for each: instructions, cycles.
 *
 * The rules are those of the Technical Reference Manuals with memory that never waits:
 *
 *   m4    Arithmetic, SIMD, multiplication with or without accumulation, 32 or 64 bits: 1. Loads 2, but 1 behind
 *         another load; stores 1. LDM, STM, PUSH, POP, LDRD, STRD: 1 + words. Division 6 (it takes 2 to 12). A taken
 *         branch of any kind: 2 more, to refill the pipeline (1 to 3). Single precision: multiply-accumulate 3,
 *         division and square root 14.
 *   m3    As m4, but MLA and MLS 2, long multiplication 4, with accumulation 5.
 *   m0    Loads and stores 2 each; LDM, STM, PUSH, POP 1 + registers; a branch taken 3 in all, BL and POP to the
 *         program counter one more; MULS 1, the fast multiplier.
 *   m7, m33   The rules of m4. Both are faster than that: the M7 issues in pairs, the M33 some of the time.
 *   m55   The rules of m4, and Helium's 128 bits take 2 cycles, but 1 when the instruction before uses the other one of
 *         the pipes for memory and for arithmetic; gathers and scatters a cycle an element; LE is free.
 *
 * A model, then, for comparing code on one core: no flash that waits, no cache, no bus that is shared. An instruction
 * in an IT block counts in full when its condition fails.
 *
 * QEMU ships no header for plugins on many systems; the few functions in use are declared here (API version 1).
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t plugin_id;
typedef void (*exec_callback)(unsigned cpu, void *user);
enum { NO_REGISTERS = 0, ADD_U64 = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, exec_callback, int flags, void *user);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, exec_callback, int flags, void *user);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int op, void *address, uint64_t value);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);

EXPORT int qemu_plugin_version = 1;

static enum { M0, M3, M4, M55 } core = M4;
static FILE *out;
static uint64_t instructions, cycles;

/* What an instruction is to the one behind it. */
enum pipe { OTHER, LOAD, VECTOR_MEMORY, VECTOR_ARITHMETIC, LOOP_END };

struct cost {
    unsigned cycles;
    enum pipe pipe;
};

static struct cost plain(unsigned cycles) {
    return (struct cost){cycles, OTHER};
}

/* Whether an instruction takes a cycle less behind the one before. */
static int overlaps(enum pipe before, enum pipe pipe) {
    switch (pipe) {
    case LOAD:
        return core != M0 && before == LOAD;
    case VECTOR_MEMORY:
        return before == VECTOR_ARITHMETIC;
    case VECTOR_ARITHMETIC:
        return before == VECTOR_MEMORY;
    default:
        return 0;
    }
}

static struct cost load(void) {
    return (struct cost){2, LOAD};
}

static struct cost store(void) {
    return plain(core == M0 ? 2 : 1);
}

static struct cost vector(enum pipe pipe) {
    return (struct cost){2, pipe};
}

/* Instructions of one half-word; Arm DDI 0403, A5.2. */
static struct cost narrow(unsigned h) {
    if ((h & 0xF800) == 0x4800)
        return load(); /* literal */
    if ((h & 0xF000) == 0x5000)
        return (h >> 9 & 7) >= 3 ? load() : store(); /* register offset */
    if (h >= 0x6000 && h < 0xA000)
        return h & 0x0800 ? load() : store(); /* immediate offset */
    if ((h & 0xF600) == 0xB400) { /* PUSH, POP */
        unsigned words = __builtin_popcount(h & 0x1FF), to_pc = (h & 0x0900) == 0x0900;
        return plain(1 + words + (core == M0 && to_pc));
    }
    if ((h & 0xF000) == 0xC000)
        return plain(1 + __builtin_popcount(h & 0xFF)); /* STM, LDM */
    return plain(1);
}

/* Scalar floating point: the coprocessor numbers 10 and 11. */
static struct cost floating(unsigned a, unsigned b) {
    if ((a & 0xFE00) == 0xEC00) {
        if ((a & 0x01E0) == 0x0040)
            return plain(2); /* VMOV of two registers */
        if ((a & 0x0120) == 0x0100)
            return plain(b & 0x0100 ? 3 : 2); /* VLDR, VSTR */
        return plain(1 + (b & 0xFF));         /* VLDM, VSTM: words */
    }
    if ((a & 0xFF00) == 0xEE00 && !(b & 0x10)) {
        if ((a & 0x00B0) == 0x0080 || ((a & 0x00BF) == 0x00B1 && (b & 0x00C0) == 0x00C0))
            return plain(14); /* VDIV, VSQRT */
        if ((a & 0x00B0) <= 0x0010 || (a & 0x00B0) == 0x0090 || (a & 0x00B0) == 0x00A0)
            return plain(3); /* VMLA, VMLS and the fused ones */
    }
    return plain(1);
}

/* Instructions of two half-words; Arm DDI 0403, A5.3, and for Helium DDI 0553. */
static struct cost wide(unsigned a, unsigned b) {
    if (core == M0)
        return plain((b & 0xD000) == 0xD000 ? 2 : 4); /* BL; the others are barriers and system registers */
    if ((a & 0xFE40) == 0xE800)
        return plain(1 + __builtin_popcount(b)); /* LDM, STM */
    if ((a & 0xFE40) == 0xE840)
        return plain(a & 0x0120 ? 3 : 2); /* LDRD, STRD; exclusive, TBB, TBH */
    if ((a & 0xFE00) == 0xF800)
        return a & 0x0010 ? load() : store();
    if ((a & 0xFF80) == 0xFB00) { /* 32-bit products; MLA and MLS are twice as long on the Cortex-M3 */
        int accumulates = (a & 0x0070) == 0 && (b & 0xF000) != 0xF000;
        return plain(core == M3 && accumulates ? 2 : 1);
    }
    if ((a & 0xFF80) == 0xFB80) { /* 64-bit products, division */
        if ((a & 0x0050) == 0x0010)
            return plain(6);
        return plain(core != M3 ? 1 : a & 0x0040 ? 5 : 4);
    }
    if ((a & 0xEC00) == 0xEC00) {
        unsigned coprocessor = b >> 9 & 7;
        if (core == M55 && (a & 0xEE00) == 0xEC00 && coprocessor == 7) {
            if ((a & 0x0120) == 0) /* gather, scatter: elements of 8, 16, 32 bits */
                return (struct cost){16u >> (b >> 7 & 3), VECTOR_MEMORY};
            if ((a & 0x1000) && (b & 0x1000))
                return (struct cost){4, VECTOR_MEMORY}; /* addresses in a vector */
            return vector(VECTOR_MEMORY);
        }
        if (core == M55 && ((a & 0xEF00) == 0xEF00 || ((a & 0xEF00) == 0xEE00 && coprocessor == 7)))
            return vector(VECTOR_ARITHMETIC);
        if (coprocessor == 5)
            return floating(a, b);
    }
    if (core == M55 && ((a & 0xFFCF) == 0xF00F) && (b & 0xF001) == 0xC001)
        return (struct cost){0, LOOP_END}; /* LE, LETP */
    return plain(1);
}

/* A translated block: nothing but its end branches. */
struct block {
    uint64_t start, end;
    enum pipe first, last;
    int free_branch;
};

/* The block that ran last: the program goes on at its end unless it branched. */
static const struct block none, *previous = &none;

static void enter(unsigned cpu, void *user) {
    const struct block *block = user;
    (void)cpu;
    if (block->start != previous->end && !previous->free_branch)
        cycles += 2;
    else
        cycles -= overlaps(previous->last, block->first);
    previous = block;
}

static void begin(unsigned cpu, void *user) {
    (void)cpu, (void)user;
    instructions = cycles = 0;
}

static void end(unsigned cpu, void *user) {
    (void)cpu, (void)user;
    fprintf(out, "%" PRIu64 " %" PRIu64 "\n", instructions, cycles);
    fflush(out);
}

static void translate(plugin_id id, struct qemu_plugin_tb *tb) {
    size_t n = qemu_plugin_tb_n_insns(tb);
    struct block *block = calloc(1, sizeof *block); /* lives as long as the emulator */
    enum pipe before = OTHER;
    (void)id;
    if (!block || n == 0)
        abort();
    for (size_t i = 0; i < n; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint16_t half[2] = {0, 0};
        memcpy(half, qemu_plugin_insn_data(insn), 2);
        /* Not what QEMU says its size is: there, an instruction just before a page's end has the next one appended. */
        size_t size = half[0] >= 0xE800 ? 4 : 2;
        memcpy(half, qemu_plugin_insn_data(insn), size);
        struct cost cost = size == 2 ? narrow(half[0]) : wide(half[0], half[1]);
        if (i == 0)
            block->first = cost.pipe;
        cost.cycles -= overlaps(before, cost.pipe);
        if (cost.pipe != LOOP_END) /* which is not there, as far as the pipes go */
            before = cost.pipe;
        block->free_branch = cost.pipe == LOOP_END;
        qemu_plugin_register_vcpu_insn_exec_inline(insn, ADD_U64, &instructions, 1);
        qemu_plugin_register_vcpu_insn_exec_inline(insn, ADD_U64, &cycles, cost.cycles);
        if (size == 2 && half[0] == 0x46D2)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, begin, NO_REGISTERS, NULL);
        if (size == 2 && half[0] == 0x46DB)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, end, NO_REGISTERS, NULL);
        block->end = qemu_plugin_insn_vaddr(insn) + size;
        if (i == 0)
            block->start = qemu_plugin_insn_vaddr(insn);
    }
    block->last = before;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, enter, NO_REGISTERS, block);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    (void)info;
    out = stderr;
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], "out=", 4)) {
            out = fopen(argv[i] + 4, "w");
        } else if (!strcmp(argv[i], "core=m0")) {
            core = M0;
        } else if (!strcmp(argv[i], "core=m3")) {
            core = M3;
        } else if (!strcmp(argv[i], "core=m4") || !strcmp(argv[i], "core=m7") || !strcmp(argv[i], "core=m33")) {
            core = M4;
        } else if (!strcmp(argv[i], "core=m55")) {
            core = M55;
        } else {
            fprintf(stderr, "cycles: unknown argument %s\n", argv[i]);
            return 1;
        }
    }
    if (!out)
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    return 0;
}
