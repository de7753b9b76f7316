@ Gates for Cortex-M3, M4, M7, M33: gates_arm.rs says what each does; gates.rs defines it.

    .syntax unified
    .thumb

@ \x = tanh of \x in steps of 2^\step, r7 = middle of the table. r8, r9 are lost.
.macro gate_tanh x, step
    asr r8, \x, #\step
    add r8, r7, r8, lsl #1
    ldrsh r9, [r8, #2]
    ldrsh r8, [r8]
    ubfx \x, \x, #0, #\step
    sub r9, r9, r8
    mul \x, \x, r9
    add \x, \x, #1 << (\step - 1)
    add \x, r8, \x, asr #\step
.endm

.macro gate_sigmoid x
    gate_tanh \x, 8
    add \x, \x, #32768
    asr \x, \x, #1
.endm

@ r0 = job: sums, cells, states, end of states, middle of the table, 15 - bits, shift up, rounding, shift down.
    .section .text.kinglet_lstm, "ax", %progbits
    .global kinglet_lstm
    .type kinglet_lstm, %function
    .thumb_func
kinglet_lstm:
    push {r4-r11, lr}
    ldm r0!, {r1, r2, r3, r6, r7, r10, r11}
    ldrd r4, r5, [r0]
    push {r4, r5}
1:
    ldrsh r4, [r1]
    gate_sigmoid r4
    ldrsh r5, [r1, #4]
    gate_tanh r5, 7
    mul r4, r4, r5
    asr r4, r4, r10
    ldrsh r5, [r1, #2]
    gate_sigmoid r5
    ldrsh r12, [r2]
    mla r4, r5, r12, r4
    add r4, r4, #16384
    asr r4, r4, #15
    ssat r4, #16, r4
    strh r4, [r2], #2
    lsl r4, r4, r11
    ldrd r5, r12, [sp]
    add r4, r4, r5
    asr r4, r4, r12
    ssat r4, #16, r4
    gate_tanh r4, 7
    ldrsh r5, [r1, #6]
    adds r1, #8
    gate_sigmoid r5
    mul r4, r4, r5
    add r4, r4, #16384
    asr r4, r4, #15
    strh r4, [r3], #2
    cmp r3, r6
    bne 1b
    add sp, sp, #8
    pop {r4-r11, pc}

@ r0 = job: sums (r, z, n, u of 16 units each), -, states, end of states, middle of the table, -, -, rounding, shift down.
    .section .text.kinglet_gru, "ax", %progbits
    .global kinglet_gru
    .type kinglet_gru, %function
    .thumb_func
kinglet_gru:
    push {r4-r11, lr}
    ldm r0!, {r1, r2, r3, r6, r7, r10, r11}
    ldrd r10, r11, [r0]
1:
    ldrsh r4, [r1]
    gate_sigmoid r4
    ldrsh r5, [r1, #96]
    mla r4, r4, r5, r10
    asr r4, r4, r11
    ldrsh r5, [r1, #64]
    add r4, r4, r5
    ssat r4, #16, r4
    gate_tanh r4, 7
    ldrsh r5, [r1, #32]
    adds r1, #2
    gate_sigmoid r5
    ldrsh r12, [r3]
    sub r12, r12, r4
    mul r5, r5, r12
    add r5, r5, #16384
    add r4, r4, r5, asr #15
    ssat r4, #16, r4
    strh r4, [r3], #2
    cmp r3, r6
    bne 1b
    pop {r4-r11, pc}
