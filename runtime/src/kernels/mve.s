@ Products over the layout Blocks, and the gates of recurrent steps, for cores with Helium. mve.rs says what each does.
@
@ Vector registers are q0 to q3 where they suffice: q4 and above belong to the caller.

    .syntax unified
    .thumb

@ Sixteen columns of four rows: r0 = weights, r1 = columns, sums in r4, r6, r8, r10. A first tile sets them.
.macro tile_int8 product=vmladava
    vldrb.u8 q0, [r1], #32
    vldrb.u8 q1, [r0], #16
    \product\().s8 r4, q0, q1
    vldrb.u8 q2, [r0], #16
    \product\().s8 r6, q0, q2
    vldrb.u8 q1, [r0], #16
    \product\().s8 r8, q0, q1
    vldrb.u8 q2, [r0], #16
    \product\().s8 r10, q0, q2
.endm

@ The same of nibbles w + 8; q3 = 15 in every byte.
.macro tile_int4
    vldrb.u8 q0, [r1], #32
    vldrb.u8 q1, [r0], #16
    vand q2, q1, q3
    vmladava.s8 r4, q0, q2
    vshr.u8 q1, q1, #4
    vmladava.s8 r6, q0, q1
    vldrb.u8 q1, [r0], #16
    vand q2, q1, q3
    vmladava.s8 r8, q0, q2
    vshr.u8 q1, q1, #4
    vmladava.s8 r10, q0, q1
.endm

@ r9 tiles.
.macro tiles kind
    lsrs lr, r9, #1
    bcc 2f
    tile_\kind
2:
    wls lr, lr, 4f
3:
    tile_\kind
    tile_\kind
    le lr, 3b
4:
.endm

@ Sums to results: bias, first shift, 17 bits, mantissa and rounding, second shift, 16 bits, store. r2 = records,
@ r3 = out, r5 = second shift, negative, r7 = its rounding. The sums alone when there are no records.
.macro finish
    cbz r2, 9f
    vmov q0[2], q0[0], r4, r8
    vmov q0[3], q0[1], r6, r10
    vld20.32 {q1, q2}, [r2]
    vld21.32 {q1, q2}, [r2]!
    vadd.i32 q0, q0, q1
    vshr.u32 q3, q2, #16
    vneg.s32 q3, q3
    vshl.s32 q0, q0, q3
    @ Saturated at 17 bits by way of the highest 17 of 32.
    vqshl.s32 q0, q0, #15
    vmovlb.u16 q2, q2
    vshr.s32 q0, q0, #15
    vmlas.i32 q0, q2, r7
    vshl.s32 q0, r5
    vqmovnb.s32 q0, q0
    vstrh.32 q0, [r3], #8
    subs r12, r12, #1
    bne 1b
    b 10f
9:
    strd r4, r6, [r3]
    strd r8, r10, [r3, #8]
10:
.endm

@ Job: weights, columns, records, out, second shift, rounding, tiles, streams.
    .section .text.kinglet_blocks_int8, "ax", %progbits
    .global kinglet_blocks_int8
    .type kinglet_blocks_int8, %function
    .thumb_func
kinglet_blocks_int8:
    push {r4-r11, lr}
    ldm r0, {r0, r1, r2, r3, r5, r7, r9, r12}
    mov r11, r1
    sub r9, r9, #1
1:
    mov r1, r11
    tile_int8 vmladav
    tiles int8
    finish
    pop {r4-r11, pc}
    .size kinglet_blocks_int8, . - kinglet_blocks_int8

    .section .text.kinglet_blocks_int4, "ax", %progbits
    .global kinglet_blocks_int4
    .type kinglet_blocks_int4, %function
    .thumb_func
kinglet_blocks_int4:
    push {r4-r11, lr}
    ldm r0, {r0, r1, r2, r3, r5, r7, r9, r12}
    mov r11, r1
    @ Every sum starts at -8 times the sum of the columns.
    movs r4, #0
    dls lr, r9
1:
    vldrb.u8 q0, [r1], #32
    vaddva.s8 r4, q0
    le lr, 1b
    lsls r4, r4, #3
    rsbs r4, r4, #0
    push {r4}
1:
    mov r1, r11
    ldr r4, [sp]
    mov r6, r4
    mov r8, r4
    mov r10, r4
    vmov.i8 q3, #15
    tiles int4
    finish
    pop {r4}
    pop {r4-r11, pc}
    .size kinglet_blocks_int4, . - kinglet_blocks_int4

@ r2 bytes at r0 to columns at r1; r3 = what is added to each.
    .section .text.kinglet_columns_of_bytes, "ax", %progbits
    .global kinglet_columns_of_bytes
    .type kinglet_columns_of_bytes, %function
    .thumb_func
kinglet_columns_of_bytes:
    push {r7, lr}
    wlstp.16 lr, r2, 2f
1:
    vldrb.s16 q0, [r0], #8
    vadd.i16 q0, q0, r3
    vstrh.16 q0, [r1], #16
    letp lr, 1b
2:
    pop {r7, pc}
    .size kinglet_columns_of_bytes, . - kinglet_columns_of_bytes

@ The same of Q0.15, rounded to 2^-7 and at most 127 from zero.
    .section .text.kinglet_columns_of_words, "ax", %progbits
    .global kinglet_columns_of_words
    .type kinglet_columns_of_words, %function
    .thumb_func
kinglet_columns_of_words:
    push {r7, lr}
    vmov.i16 q1, #127
    vneg.s16 q2, q1
    wlstp.16 lr, r2, 2f
1:
    vldrh.u16 q0, [r0], #16
    vrshr.s16 q0, q0, #8
    vmin.s16 q0, q0, q1
    vmax.s16 q0, q0, q2
    vadd.i16 q0, q0, r3
    vstrh.16 q0, [r1], #16
    letp lr, 1b
2:
    pop {r7, pc}
    .size kinglet_columns_of_words, . - kinglet_columns_of_words

@ Columns of r1 tiles at r0 to bytes, each tile's in its first half.
    .section .text.kinglet_blocks_prepare, "ax", %progbits
    .global kinglet_blocks_prepare
    .type kinglet_blocks_prepare, %function
    .thumb_func
kinglet_blocks_prepare:
    push {r4, lr}
    wls lr, r1, 2f
1:
    vldrh.u16 q1, [r0, #16]
    vldrh.u16 q0, [r0]
    vstrb.16 q1, [r0, #8]
    vstrb.16 q0, [r0], #32
    le lr, 1b
2:
    pop {r4, pc}
    .size kinglet_blocks_prepare, . - kinglet_blocks_prepare

@ tanh of eight Q3.12 numbers in \x, by table steps of 2^\step units of x; \a, \b, \c are destroyed. r3 = the table, r4 = its
@ second entry, r5 = 256. The fraction stands in the highest bits, so that VQRDMULH shifts and rounds as it should.
.macro tanh8 x, step, a, b, c
    vshr.s16 \a, \x, #\step
    vadd.i16 \a, \a, r5
    vldrh.u16 \b, [r3, \a, uxtw #1]
    vldrh.u16 \c, [r4, \a, uxtw #1]
    vshl.i16 \x, \x, #15 - \step
    vsub.i16 \c, \c, \b
    vbic.i16 \x, #0x8000
    vqrdmulh.s16 \c, \c, \x
    vadd.i16 \x, \b, \c
.endm

@ Sigmoid: (32768 + tanh(x / 2)) / 2; r6 = 16384.
.macro sigmoid8 x, a, b, c
    tanh8 \x, 8, \a, \b, \c
    vshr.s16 \x, \x, #1
    vadd.i16 \x, \x, r6
.endm

@ Job: sums, cells, states, table, its second entry, 256, 16384, cell bits - 15, 12 - cell bits, blocks of eight units.
    .section .text.kinglet_lstm_gates, "ax", %progbits
    .global kinglet_lstm_gates
    .type kinglet_lstm_gates, %function
    .thumb_func
kinglet_lstm_gates:
    push {r4-r8, lr}
    vpush {d8-d15}
    ldm r0, {r0-r8, lr}
    dls lr, lr
1:
    vld40.16 {q0, q1, q2, q3}, [r0]
    vld41.16 {q0, q1, q2, q3}, [r0]
    vld42.16 {q0, q1, q2, q3}, [r0]
    vld43.16 {q0, q1, q2, q3}, [r0]!
    sigmoid8 q0, q4, q5, q6
    sigmoid8 q1, q4, q5, q6
    tanh8 q2, 7, q4, q5, q6
    sigmoid8 q3, q4, q5, q6
    vldrh.u16 q4, [r1]
    vmullb.s16 q5, q1, q4
    vmullt.s16 q6, q1, q4
    vmullb.s16 q7, q0, q2
    vmullt.s16 q4, q0, q2
    vshl.s32 q7, r7
    vshl.s32 q4, r7
    vadd.i32 q5, q5, q7
    vadd.i32 q6, q6, q4
    vqrshrnb.s32 q0, q5, #15
    vqrshrnt.s32 q0, q6, #15
    vstrh.16 q0, [r1], #16
    vqrshl.s16 q0, r8
    tanh8 q0, 7, q4, q5, q6
    vqrdmulh.s16 q0, q0, q3
    vstrh.16 q0, [r2], #16
    le lr, 1b
    vpop {d8-d15}
    pop {r4-r8, pc}
    .size kinglet_lstm_gates, . - kinglet_lstm_gates

@ Job: sums of r, z, n and u of 16 units, units, states, table, its second entry, 256, 16384, second shift of r * u,
@ negative, blocks of eight units.
    .section .text.kinglet_gru_gates, "ax", %progbits
    .global kinglet_gru_gates
    .type kinglet_gru_gates, %function
    .thumb_func
kinglet_gru_gates:
    push {r4-r7, lr}
    vpush {d8-d11}
    ldm r0, {r0-r7, lr}
    dls lr, lr
1:
    vldrh.u16 q0, [r0], #16
    sigmoid8 q0, q1, q2, q3
    vldrh.u16 q1, [r0, #80]
    vmullb.s16 q2, q0, q1
    vmullt.s16 q3, q0, q1
    vrshl.s32 q2, r7
    vrshl.s32 q3, r7
    vldrh.u16 q1, [r0, #48]
    vmovlb.s16 q0, q1
    vadd.i32 q2, q2, q0
    vmovlt.s16 q0, q1
    vadd.i32 q3, q3, q0
    vqmovnb.s32 q0, q2
    vqmovnt.s32 q0, q3
    tanh8 q0, 7, q1, q2, q3
    vldrh.u16 q1, [r0, #16]
    sigmoid8 q1, q2, q3, q4
    vctp.16 r1
    vpst
    vldrht.u16 q2, [r2]
    @ 2^15 n - z n + z h stays within 2^30, as a mean of n and h.
    vshllb.s16 q3, q0, #15
    vmullb.s16 q4, q1, q0
    vsub.i32 q3, q3, q4
    vmullb.s16 q4, q1, q2
    vadd.i32 q3, q3, q4
    vqrshrnb.s32 q5, q3, #15
    vshllt.s16 q3, q0, #15
    vmullt.s16 q4, q1, q0
    vsub.i32 q3, q3, q4
    vmullt.s16 q4, q1, q2
    vadd.i32 q3, q3, q4
    vqrshrnt.s32 q5, q3, #15
    vpst
    vstrht.16 q5, [r2], #16
    subs r1, #8
    le lr, 1b
    vpop {d8-d11}
    pop {r4-r7, pc}
    .size kinglet_gru_gates, . - kinglet_gru_gates
