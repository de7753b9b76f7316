@ Products over the layout Pairs for cores with the DSP extension of Armv7E-M. arm_dsp.rs says what each does.
@
@ All take r0 = job: weights, columns, end of whole blocks of columns, end of columns, then what the caller needs.
@ In the loops r0 walks the weights and r1 the columns; sums stay in registers, and nothing is written.

    .syntax unified
    .thumb

@ Two columns of four rows, int8: words \ab and \cd (destroyed), columns \x.
@ A lane is 256 a + b: s += x (256 a + b), t += x b.
.macro eight ab, cd, x, sab, tab, scd, tcd
    smlad \sab, \ab, \x, \sab
    sxtb16 \ab, \ab
    smlad \tab, \ab, \x, \tab
    smlad \scd, \cd, \x, \scd
    sxtb16 \cd, \cd
    smlad \tcd, \cd, \x, \tcd
.endm

@ Two columns of four rows, int4: word \w (destroyed), columns \x.
@ A lane is 256 (16 a + b') + 16 c' + d' with b' = b + 8 and so on: s sums it all, t 16 c' + d', u 256 b', v d'.
.macro four w, x, s, t, u, v
    smlad \s, \w, \x, \s
    uxtb16 r8, \w
    smlad \t, r8, \x, \t
    and r8, \w, #0x0F000F00
    smlad \u, r8, \x, \u
    and \w, \w, #0x000F000F
    smlad \v, \w, \x, \v
.endm

@ Sums of int8 over all columns into r9 (s of rows 0, 1), r10 (t), r11 (s of rows 2, 3), lr (t).
@ [sp, \bulk]: end of whole blocks of \columns columns; [sp, \bulk + 4]: end of columns.
.macro run8 bulk, columns
    ldr r2, [sp, #\bulk]
    cmp r1, r2
    beq 3f
2:
    .rept \columns / 8
    ldm r1!, {r6, r7, r8, r12}
    ldm r0!, {r2, r3, r4, r5}
    eight r2, r3, r6, r9, r10, r11, lr
    eight r4, r5, r7, r9, r10, r11, lr
    ldm r0!, {r2, r3, r4, r5}
    eight r2, r3, r8, r9, r10, r11, lr
    eight r4, r5, r12, r9, r10, r11, lr
    .endr
    ldr r2, [sp, #\bulk]
    cmp r1, r2
    bne 2b
3:
    ldr r2, [sp, #\bulk + 4]
    cmp r1, r2
    beq 5f
4:
    ldrd r6, r7, [r1], #8
    ldm r0!, {r2, r3, r4, r5}
    eight r2, r3, r6, r9, r10, r11, lr
    eight r4, r5, r7, r9, r10, r11, lr
    ldr r2, [sp, #\bulk + 4]
    cmp r1, r2
    bne 4b
5:
.endm

@ Sums of int4 over all columns into r9 (s), r10 (t), r11 (u), lr (v).
.macro run4 bulk, columns
    ldr r2, [sp, #\bulk]
    cmp r1, r2
    beq 3f
2:
    .rept \columns / 8
    ldm r0!, {r2, r3, r4, r5}
    ldrd r6, r7, [r1], #8
    four r2, r6, r9, r10, r11, lr
    four r3, r7, r9, r10, r11, lr
    ldrd r6, r7, [r1], #8
    four r4, r6, r9, r10, r11, lr
    four r5, r7, r9, r10, r11, lr
    .endr
    ldr r2, [sp, #\bulk]
    cmp r1, r2
    bne 2b
3:
    ldr r2, [sp, #\bulk + 4]
    cmp r1, r2
    beq 5f
4:
    ldrd r6, r7, [r1], #8
    ldrd r2, r3, [r0], #8
    four r2, r6, r9, r10, r11, lr
    four r3, r7, r9, r10, r11, lr
    ldr r2, [sp, #\bulk + 4]
    cmp r1, r2
    bne 4b
5:
.endm

@ \sum to a result: first shift, 17 bits, mantissa and rounding, second shift, 16 bits, store.
@ r2 = records, r7 = second shift, r6 = its rounding.
.macro requantize row, sum, out
    ldrb r5, [r2, #8 * \row + 6]
    ldrh r4, [r2, #8 * \row + 4]
    asr \sum, \sum, r5
    ssat \sum, #17, \sum
    mla \sum, \sum, r4, r6
    asr \sum, \sum, r7
    ssat \sum, #16, \sum
    strh \sum, [\out], #2
.endm

@ Sums with their biases to the results of four rows, r2 = records; then the next four, from 1 on, or the end.
.macro pairs_finish a, b, c, d
    ldrd r6, r7, [sp, #24]
    ldr r12, [sp, #16]
    requantize 0, \a, r12
    requantize 1, \b, r12
    requantize 2, \c, r12
    requantize 3, \d, r12
    adds r2, r2, #32
    str r2, [sp, #12]
    str r12, [sp, #16]
    ldr r3, [sp, #20]
    cmp r12, r3
    bne 1b
    add sp, sp, #36
    pop {r4-r11, pc}
.endm

@ Sums of four rows to where they are wanted, and the end.
.macro pairs_sums a, b, c, d
    ldr r2, [sp, #8]
    strd \a, \b, [r2]
    strd \c, \d, [r2, #8]
    add sp, sp, #12
    pop {r4-r11, pc}
.endm

@ Whole rows, int8. Stack: columns, bulk end, end, records, out, out end, rounding, shift, correction (unused).
    .section .text.kinglet_pairs_int8, "ax", %progbits
    .global kinglet_pairs_int8
    .type kinglet_pairs_int8, %function
    .thumb_func
kinglet_pairs_int8:
    push {r4-r11, lr}
    ldm r0, {r0-r9}
    push {r1-r9}
1:
    ldr r2, [sp, #12]
    ldr r1, [sp]
    ldr r10, [r2, #8]
    mov r9, r10
    ldr lr, [r2, #24]
    mov r11, lr
    run8 4, 64
    ldr r2, [sp, #12]
    sub r9, r9, r10
    sub r11, r11, lr
    ldr r3, [r2]
    add r9, r3, r9, asr #8
    ldr r3, [r2, #16]
    add r11, r3, r11, asr #8
    pairs_finish r9, r10, r11, lr

@ Whole rows, int4. The stack as above; correction = 8 times the sum of the columns.
    .section .text.kinglet_pairs_int4, "ax", %progbits
    .global kinglet_pairs_int4
    .type kinglet_pairs_int4, %function
    .thumb_func
kinglet_pairs_int4:
    push {r4-r11, lr}
    ldm r0, {r0-r9}
    push {r1-r9}
1:
    ldr r1, [sp]
    mov r9, #0
    mov r10, r9
    mov r11, r9
    mov lr, r9
    run4 4, 64
    ldr r2, [sp, #12]
    ldr r8, [sp, #32]
    sub r9, r9, r10
    sub r9, r9, r11
    sub r10, r10, lr
    ldr r3, [r2]
    add r9, r3, r9, asr #12
    ldr r3, [r2, #8]
    sub r3, r3, r8
    add r11, r3, r11, asr #8
    ldr r3, [r2, #16]
    sub r3, r3, r8
    add r10, r3, r10, asr #4
    ldr r3, [r2, #24]
    sub r3, r3, r8
    add lr, lr, r3
    pairs_finish r9, r11, r10, lr

@ Sums of one stream, int8, no more: job = weights, columns, bulk end, end, sums.
    .section .text.kinglet_pairs_sums_int8, "ax", %progbits
    .global kinglet_pairs_sums_int8
    .type kinglet_pairs_sums_int8, %function
    .thumb_func
kinglet_pairs_sums_int8:
    push {r4-r11, lr}
    ldm r0, {r0-r4}
    push {r2-r4}
    mov r9, #0
    mov r10, r9
    mov r11, r9
    mov lr, r9
    run8 0, 16
    sub r9, r9, r10
    sub r11, r11, lr
    asr r9, r9, #8
    asr r11, r11, #8
    pairs_sums r9, r10, r11, lr

@ The same for int4, the offset of the nibbles left in rows 1 to 3: it is 8 times the sum of the columns.
    .section .text.kinglet_pairs_sums_int4, "ax", %progbits
    .global kinglet_pairs_sums_int4
    .type kinglet_pairs_sums_int4, %function
    .thumb_func
kinglet_pairs_sums_int4:
    push {r4-r11, lr}
    ldm r0, {r0-r4}
    push {r2-r4}
    mov r9, #0
    mov r10, r9
    mov r11, r9
    mov lr, r9
    run4 0, 16
    sub r9, r9, r10
    sub r9, r9, r11
    sub r10, r10, lr
    asr r9, r9, #12
    asr r11, r11, #8
    asr r10, r10, #4
    pairs_sums r9, r11, r10, lr

@ Four numbers of a key as two pairs, the even ones in r7, the odd ones in r6. Words may lie anywhere.
.macro dot_key
    ldr r6, [r0], #4
    sxtb16 r7, r6
    sxtb16 r6, r6, ror #8
.endm

@ Adds their products with four numbers of a query.
.macro dot_query query, sum
    ldr r8, [\query], #4
    ldr r9, [\query], #4
    pkhbt r12, r8, r9, lsl #16
    pkhtb r8, r9, r8, asr #16
    smlad \sum, r7, r12, \sum
    smlad \sum, r6, r8, \sum
.endm

@ r0 = key, r1 = query, r2 = its end: returns the sum of products.
    .section .text.kinglet_dot, "ax", %progbits
    .global kinglet_dot
    .type kinglet_dot, %function
    .thumb_func
kinglet_dot:
    push {r4-r9, lr}
    mov r4, #0
1:
    dot_key
    dot_query r1, r4
    cmp r1, r2
    bne 1b
    mov r0, r4
    pop {r4-r9, pc}

@ r0 = key, r1 = first query, r2 = second, r3 = end of the first: returns the sums in r0 and r1.
    .section .text.kinglet_dot_two, "ax", %progbits
    .global kinglet_dot_two
    .type kinglet_dot_two, %function
    .thumb_func
kinglet_dot_two:
    push {r4-r9, lr}
    mov r4, #0
    mov r5, r4
1:
    dot_key
    dot_query r1, r4
    dot_query r2, r5
    cmp r1, r3
    bne 1b
    mov r0, r4
    mov r1, r5
    pop {r4-r9, pc}
