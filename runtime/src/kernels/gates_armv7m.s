@ Gates and exponentials for Cortex-M3, M4, M7, M33: gates_arm.rs says what each does; gates.rs defines it.

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

@ r0 = job: values, their end, largest, fraction bits, table of 2^-x. Returns the sum of 2^(value - largest) in 2^-15.
    .section .text.kinglet_sum_exp2, "ax", %progbits
    .global kinglet_sum_exp2
    .type kinglet_sum_exp2, %function
    .thumb_func
kinglet_sum_exp2:
    push {r4-r9, lr}
    ldm r0, {r1, r2, r3, r4, r5}
    rsb lr, r4, #15
    mov r0, #0
1:
    ldrsh r6, [r1], #2
    sub r6, r3, r6
    lsr r7, r6, r4
    cmp r7, #15
    bhi 2f
    lsl r6, r6, lr
    ubfx r8, r6, #9, #6
    add r8, r5, r8, lsl #1
    ldrh r9, [r8, #2]
    ldrh r8, [r8]
    ubfx r6, r6, #0, #9
    sub r9, r8, r9
    mul r6, r6, r9
    sub r6, r8, r6, lsr #9
    lsr r6, r6, r7
    add r0, r0, r6
2:
    cmp r1, r2
    bne 1b
    pop {r4-r9, pc}

@ Energy of one query: r10 = the key's part; query in \x, its pointer in \query, sum in \sum.
.macro gate_energy x, query, sum
    ldrsh \x, [\query], #2
    lsl \x, \x, r4
    add \x, \x, r10, asr #6
    ssat \x, #16, \x
    gate_tanh \x, 7
    mla \sum, \x, r12, \sum
.endm

.macro gate_key
    ldrsb r10, [r0], #1
    ldrsb r12, [r1], #1
    mul r10, r10, r3
    add r10, r10, #32
.endm

@ r0 = job: key, v, its end, scale, shift up, first query, second, middle of the table. Returns the sum.
    .section .text.kinglet_energy, "ax", %progbits
    .global kinglet_energy
    .type kinglet_energy, %function
    .thumb_func
kinglet_energy:
    push {r4-r12, lr}
    ldm r0, {r0-r7}
    mov lr, #0
1:
    gate_key
    gate_energy r11, r5, lr
    cmp r1, r2
    bne 1b
    mov r0, lr
    pop {r4-r12, pc}

@ The same for two queries: returns the sums in r0 and r1.
    .section .text.kinglet_energy_two, "ax", %progbits
    .global kinglet_energy_two
    .type kinglet_energy_two, %function
    .thumb_func
kinglet_energy_two:
    push {r2, r4-r12, lr}
    ldm r0, {r0-r7}
    str r2, [sp]
    mov lr, #0
    mov r2, lr
1:
    gate_key
    gate_energy r11, r5, lr
    gate_energy r11, r6, r2
    ldr r11, [sp]
    cmp r1, r11
    bne 1b
    mov r0, lr
    mov r1, r2
    pop {r2, r4-r12, pc}

@ \sum in 2^15 to int8 of [-127, 127] at \to.
.macro gate_byte sum, to
    asr \sum, \sum, #15
    ssat \sum, #8, \sum
    cmp \sum, #-127
    it lt
    mvnlt \sum, #126
    strb \sum, [\to], #1
.endm

@ r0 = job: values, bytes of a row, weights, from the first's weights to the second's, out, second out, end of out, end of
@ weights.
    .section .text.kinglet_context, "ax", %progbits
    .global kinglet_context
    .type kinglet_context, %function
    .thumb_func
kinglet_context:
    push {r4-r11, lr}
    ldm r0, {r0-r7}
    mov lr, r7
1:
    mov r7, r0
    adds r0, #1
    mov r8, r2
    mov r10, #16384
2:
    ldrsb r12, [r7]
    add r7, r7, r1
    ldrh r9, [r8], #2
    cmp r8, lr
    mla r10, r9, r12, r10
    bne 2b
    gate_byte r10, r4
    cmp r4, r6
    bne 1b
    pop {r4-r11, pc}

    .section .text.kinglet_context_two, "ax", %progbits
    .global kinglet_context_two
    .type kinglet_context_two, %function
    .thumb_func
kinglet_context_two:
    push {r4-r11, lr}
    ldm r0, {r0-r7}
    mov lr, r7
1:
    mov r7, r0
    adds r0, #1
    mov r8, r2
    mov r10, #16384
    mov r11, r10
2:
    ldrsb r12, [r7]
    add r7, r7, r1
    ldrh r9, [r8, r3]
    mla r11, r9, r12, r11
    ldrh r9, [r8], #2
    cmp r8, lr
    mla r10, r9, r12, r10
    bne 2b
    gate_byte r10, r4
    gate_byte r11, r5
    cmp r4, r6
    bne 1b
    pop {r4-r11, pc}

@ r0 = values, r1 = their end: returns the place of the largest, the first of equals.
    .section .text.kinglet_largest, "ax", %progbits
    .global kinglet_largest
    .type kinglet_largest, %function
    .thumb_func
kinglet_largest:
    mvn r2, #0x8000
    mov r12, r0
1:
    ldrsh r3, [r0], #2
    cmp r3, r2
    itt gt
    movgt r2, r3
    movgt r12, r0
    cmp r0, r1
    bne 1b
    mov r0, r12
    bx lr
