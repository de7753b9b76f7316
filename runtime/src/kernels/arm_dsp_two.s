@ Products of two interleaved vectors over the layout Pairs: two columns of the first, two of the second, and so on. What r0 is and
@ how loops go is as in arm_dsp.s.

@ Two columns of four rows for two vectors, int8.
.macro two_columns_int8
    ldrd r4, r5, [r1], #8
    ldrd r2, r3, [r0], #8
    smlad r6, r2, r4, r6
    smlad r10, r2, r5, r10
    sxtb16 r2, r2
    smlad r7, r2, r4, r7
    smlad r11, r2, r5, r11
    smlad r8, r3, r4, r8
    smlad r12, r3, r5, r12
    sxtb16 r3, r3
    smlad r9, r3, r4, r9
    smlad lr, r3, r5, lr
.endm

@ The same for int4.
.macro two_columns_int4
    ldr r2, [r0], #4
    ldrd r4, r5, [r1], #8
    smlad r6, r2, r4, r6
    smlad r10, r2, r5, r10
    uxtb16 r3, r2
    smlad r7, r3, r4, r7
    smlad r11, r3, r5, r11
    and r3, r2, #0x0F000F00
    smlad r8, r3, r4, r8
    smlad r12, r3, r5, r12
    and r2, r2, #0x000F000F
    smlad r9, r2, r4, r9
    smlad lr, r2, r5, lr
.endm

@ A row's sums of two vectors to results. r2 = records; rounding and shift, outs in the stack.
.macro two_requantize row, first, second
    ldrb r1, [r2, #8 * \row + 6]
    asr \first, \first, r1
    asr \second, \second, r1
    ldrh r1, [r2, #8 * \row + 4]
    ssat \first, #17, \first
    ssat \second, #17, \second
    ldrd r3, r4, [sp, #24]
    mla \first, \first, r1, r3
    mla \second, \second, r1, r3
    asr \first, \first, r4
    asr \second, \second, r4
    ssat \first, #16, \first
    ssat \second, #16, \second
    ldr r3, [sp, #16]
    ldr r4, [sp, #32]
    strh \first, [r3, #2 * \row]
    strh \second, [r4, #2 * \row]
.endm

@ Sums of two vectors over all columns. [sp, #\bulk]: end of whole blocks of \columns columns of each; [sp, #\bulk + 4]: end.
.macro two_run kind, bulk, columns
    ldr r2, [sp, #\bulk]
    cmp r1, r2
    beq 3f
2:
    .rept \columns / 2
    two_columns_\kind
    .endr
    ldr r2, [sp, #\bulk]
    cmp r1, r2
    bne 2b
3:
    ldr r2, [sp, #\bulk + 4]
    cmp r1, r2
    beq 5f
4:
    two_columns_\kind
    ldr r2, [sp, #\bulk + 4]
    cmp r1, r2
    bne 4b
5:
.endm

@ No sums of two vectors yet.
.macro two_zero
    mov r6, #0
    mov r7, r6
    mov r8, r6
    mov r9, r6
    mov r10, r6
    mov r11, r6
    mov r12, r6
    mov lr, r6
.endm

@ Sums of four rows and two vectors, r6 to r9 and r10 to lr, to where they are wanted, and the end.
.macro two_sums
    ldr r2, [sp, #8]
    stm r2, {r6-r12, lr}
    add sp, sp, #12
    pop {r4-r11, pc}
.endm

@ The ends of two vectors, as `pairs_finish`; r6 to r9 and r10 to lr, rows 1 and 2 in \b, \c and \bb, \cc. \frame = bytes of the
@ stack.
.macro two_finish b, bb, c, cc, frame
    two_requantize 0, r6, r10
    two_requantize 1, \b, \bb
    two_requantize 2, \c, \cc
    two_requantize 3, r9, lr
    adds r2, r2, #32
    str r2, [sp, #12]
    adds r4, r4, #8
    str r4, [sp, #32]
    adds r3, r3, #8
    str r3, [sp, #16]
    ldr r4, [sp, #20]
    cmp r3, r4
    bne 1b
    add sp, sp, #\frame
    pop {r4-r11, pc}
.endm

@ Whole rows, int8. Stack: columns, bulk end, end, records, out, out
@ end, rounding, shift, second out. Sums of the first in r6-r9, of the second in r10-lr.
    .section .text.kinglet_pairs_two_int8, "ax", %progbits
    .global kinglet_pairs_two_int8
    .type kinglet_pairs_two_int8, %function
    .thumb_func
kinglet_pairs_two_int8:
    push {r4-r11, lr}
    ldm r0, {r0-r9}
    push {r1-r9}
1:
    ldr r2, [sp, #12]
    ldr r1, [sp]
    ldr r7, [r2, #8]
    mov r6, r7
    mov r10, r7
    mov r11, r7
    ldr r9, [r2, #24]
    mov r8, r9
    mov r12, r9
    mov lr, r9
    two_run int8 4, 32
    ldr r2, [sp, #12]
    sub r6, r6, r7
    sub r8, r8, r9
    sub r10, r10, r11
    sub r12, r12, lr
    ldr r3, [r2]
    add r6, r3, r6, asr #8
    add r10, r3, r10, asr #8
    ldr r3, [r2, #16]
    add r8, r3, r8, asr #8
    add r12, r3, r12, asr #8
    two_finish r7, r11, r8, r12, 36

@ Whole rows, int4. Stack as above, then the corrections of both. Sums s, t, u, v of the first in r6-r9, of the second in
@ r10-lr.
    .section .text.kinglet_pairs_two_int4, "ax", %progbits
    .global kinglet_pairs_two_int4
    .type kinglet_pairs_two_int4, %function
    .thumb_func
kinglet_pairs_two_int4:
    push {r4-r11, lr}
    ldm r0, {r0-r11}
    push {r1-r11}
1:
    ldr r1, [sp]
    two_zero
    two_run int4 4, 32
    ldr r2, [sp, #12]
    sub r6, r6, r7
    sub r6, r6, r8
    sub r10, r10, r11
    sub r10, r10, r12
    sub r7, r7, r9
    sub r11, r11, lr
    ldr r3, [r2]
    add r6, r3, r6, asr #12
    add r10, r3, r10, asr #12
    ldrd r4, r5, [sp, #36]
    ldr r3, [r2, #8]
    add r8, r3, r8, asr #8
    sub r8, r8, r4
    add r12, r3, r12, asr #8
    sub r12, r12, r5
    ldr r3, [r2, #16]
    add r7, r3, r7, asr #4
    sub r7, r7, r4
    add r11, r3, r11, asr #4
    sub r11, r11, r5
    ldr r3, [r2, #24]
    sub r3, r3, r4
    add r9, r9, r3
    ldr r3, [r2, #24]
    sub r3, r3, r5
    add lr, lr, r3
    two_finish r8, r12, r7, r11, 44

@ Sums of one stream, int8, no more: four of the first vector, then four of the second.
    .section .text.kinglet_pairs_two_sums_int8, "ax", %progbits
    .global kinglet_pairs_two_sums_int8
    .type kinglet_pairs_two_sums_int8, %function
    .thumb_func
kinglet_pairs_two_sums_int8:
    push {r4-r11, lr}
    ldm r0, {r0-r4}
    push {r2-r4}
    two_zero
    two_run int8 0, 16
    sub r6, r6, r7
    sub r8, r8, r9
    sub r10, r10, r11
    sub r12, r12, lr
    asr r6, r6, #8
    asr r8, r8, #8
    asr r10, r10, #8
    asr r12, r12, #8
    two_sums

@ The same for int4, the offset of the nibbles left in rows 1 to 3.
    .section .text.kinglet_pairs_two_sums_int4, "ax", %progbits
    .global kinglet_pairs_two_sums_int4
    .type kinglet_pairs_two_sums_int4, %function
    .thumb_func
kinglet_pairs_two_sums_int4:
    push {r4-r11, lr}
    ldm r0, {r0-r4}
    push {r2-r4}
    two_zero
    two_run int4 0, 16
    sub r6, r6, r7
    sub r6, r6, r8
    sub r10, r10, r11
    sub r10, r10, r12
    sub r3, r7, r9
    sub r4, r11, lr
    asr r6, r6, #12
    asr r7, r8, #8
    asr r8, r3, #4
    asr r10, r10, #12
    asr r11, r12, #8
    asr r12, r4, #4
    two_sums
