@ Gates for Cortex-M0: gates_arm.rs says what each does; gates.rs defines it.

    .syntax unified
    .thumb

@ r0 = tanh of r0 in steps of 2^\step; r8 = the table of the positive half. r1-r3 are lost.
@ Below zero the table is read from the other side: the fraction stays, the two entries change places and sign.
.macro gate_tanh step
    asrs r1, r0, #31
    movs r2, r0
    eors r2, r1
    lsrs r2, r2, #\step
    lsls r2, r2, #1
    add r2, r8
    lsls r0, r0, #32 - \step
    lsrs r0, r0, #32 - \step
    ldrh r3, [r2, #2]
    ldrh r2, [r2]
    cmp r1, #0
    bne 1f
    subs r3, r3, r2
    muls r0, r3, r0
    adds r0, #1 << (\step - 1)
    asrs r0, r0, #\step
    adds r0, r0, r2
    bx lr
1:
    subs r2, r3, r2
    muls r0, r2, r0
    adds r0, #1 << (\step - 1)
    asrs r0, r0, #\step
    subs r0, r0, r3
    bx lr
.endm

    .section .text.kinglet_gates, "ax", %progbits
    .thumb_func
kinglet_tanh:
    gate_tanh 7

@ Sigmoid; r9 = 2^15 is added by the caller, who halves.
    .thumb_func
kinglet_tanh_of_half:
    gate_tanh 8

.macro gate_sigmoid
    bl kinglet_tanh_of_half
    add r0, r9
    asrs r0, r0, #1
.endm

@ \value to 16 bits; r1 is lost.
.macro gate_saturate value
    asrs r1, \value, #15
    adds r1, #1
    lsrs r1, r1, #1
    beq 7f
    asrs \value, \value, #31
    ldr r1, =0x7FFF
    eors \value, r1
7:
.endm

@ The sum \at bytes further in r4, in r0.
.macro gate_sum at
    movs r1, #\at
    ldrsh r0, [r4, r1]
.endm

.macro gate_enter
    push {r4, r5, r6, r7, lr}
    mov r4, r8
    mov r5, r9
    mov r6, r10
    mov r7, r11
    push {r0, r4, r5, r6, r7}
    movs r1, #1
    lsls r1, r1, #15
    mov r9, r1
    lsrs r1, r1, #1
    mov r10, r1
    ldr r4, [r0]
    ldr r5, [r0, #4]
    ldr r6, [r0, #8]
    ldr r1, [r0, #12]
    mov r11, r1
    ldr r1, [r0, #16]
    mov r8, r1
.endm

.macro gate_leave
    pop {r0, r4, r5, r6, r7}
    mov r8, r4
    mov r9, r5
    mov r10, r6
    mov r11, r7
    pop {r4, r5, r6, r7, pc}
.endm

@ r0 = job: sums, cells, states, end of states, table, 15 - bits, shift up, rounding, shift down.
    .global kinglet_lstm
    .type kinglet_lstm, %function
    .thumb_func
kinglet_lstm:
    gate_enter
1:
    gate_sum 0
    gate_sigmoid
    movs r7, r0
    gate_sum 4
    bl kinglet_tanh
    muls r7, r0, r7
    ldr r1, [sp]
    ldr r1, [r1, #20]
    asrs r7, r1
    gate_sum 2
    gate_sigmoid
    movs r1, #0
    ldrsh r1, [r5, r1]
    muls r0, r1, r0
    adds r7, r7, r0
    add r7, r10
    asrs r7, r7, #15
    gate_saturate r7
    strh r7, [r5]
    adds r5, #2
    ldr r0, [sp]
    ldr r1, [r0, #24]
    lsls r7, r1
    ldr r1, [r0, #28]
    adds r7, r7, r1
    ldr r1, [r0, #32]
    asrs r7, r1
    gate_saturate r7
    movs r0, r7
    bl kinglet_tanh
    movs r7, r0
    gate_sum 6
    adds r4, #8
    gate_sigmoid
    muls r0, r7, r0
    add r0, r10
    asrs r0, r0, #15
    strh r0, [r6]
    adds r6, #2
    cmp r6, r11
    bne 1b
    gate_leave

@ r0 = job: sums (r, z, n, u of 16 units each), -, states, end of states, table, -, -, rounding, shift down.
    .global kinglet_gru
    .type kinglet_gru, %function
    .thumb_func
kinglet_gru:
    gate_enter
1:
    gate_sum 0
    gate_sigmoid
    movs r7, r0
    gate_sum 96
    muls r0, r7, r0
    ldr r2, [sp]
    ldr r1, [r2, #28]
    adds r0, r0, r1
    ldr r1, [r2, #32]
    asrs r0, r1
    movs r1, #64
    ldrsh r1, [r4, r1]
    adds r0, r0, r1
    gate_saturate r0
    bl kinglet_tanh
    movs r7, r0
    gate_sum 32
    adds r4, #2
    gate_sigmoid
    movs r1, #0
    ldrsh r1, [r6, r1]
    subs r1, r1, r7
    muls r0, r1, r0
    add r0, r10
    asrs r0, r0, #15
    adds r0, r0, r7
    gate_saturate r0
    strh r0, [r6]
    adds r6, #2
    cmp r6, r11
    bne 1b
    gate_leave
    .pool
