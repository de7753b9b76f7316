@ Sums over the layout Tiles for Cortex-M0. armv6m.rs says what each does.
@ r0 = job, see there; its first member walks on, and records and out, stream by stream.
@ Additions alone reach the high registers: the sums live there.

    .syntax unified
    .thumb

@ One column of four rows, int8; \w = byte offset of its weights, \x of the column.
.macro column_int8 w, x
    ldrh r3, [r1, #\x]
    ldrb r2, [r0, #\w]
    muls r2, r3, r2
    add r8, r8, r2
    ldrb r2, [r0, #\w + 3]
    muls r2, r3, r2
    add r9, r9, r2
    ldrb r2, [r0, #\w + 2]
    muls r2, r3, r2
    add r10, r10, r2
    ldrb r2, [r0, #\w + 1]
    muls r2, r3, r2
    add r11, r11, r2
.endm

.macro tile_int8 w, x
    column_int8 (\w), (\x)
    column_int8 (\w + 4), (\x + 2)
    column_int8 (\w + 8), (\x + 4)
    column_int8 (\w + 12), (\x + 6)
.endm

.macro save
    push {r4, r5, r6, r7, lr}
    mov r4, r8
    mov r5, r9
    mov r6, r10
    mov r7, r11
    push {r4, r5, r6, r7}
.endm

.macro restore
    pop {r4, r5, r6, r7}
    mov r8, r4
    mov r9, r5
    mov r10, r6
    mov r11, r7
    pop {r4, r5, r6, r7, pc}
.endm

    .section .text.kinglet_tiles_int8, "ax", %progbits
    .global kinglet_tiles_int8
    .type kinglet_tiles_int8, %function
    .thumb_func
kinglet_tiles_int8:
    save
    push {r0}
1:
    ldr r7, [sp]
    ldr r0, [r7]
    ldr r1, [r7, #4]
    ldr r5, [r7, #8]
    ldr r6, [r7, #12]
    movs r2, #0
    mov r8, r2
    mov r9, r2
    mov r10, r2
    mov r11, r2
    cmp r1, r5
    bne 2f
    b 3f
2:
    tile_int8 0, 0
    tile_int8 16, 8
    adds r0, #32
    adds r1, #16
    cmp r1, r5
    bne 2b
3:
    cmp r1, r6
    beq 5f
4:
    tile_int8 0, 0
    adds r0, #16
    adds r1, #8
    cmp r1, r6
    bne 4b
5:
    ldr r7, [sp]
    bl kinglet_tiles_finish
    beq 6f
    b 1b
6:
    pop {r0}
    restore

@ \value, when it has more than \bits bits, to the nearest that has. r1 is lost.
.macro saturate value, bits
    asrs r1, \value, #\bits - 1
    adds r1, #1
    lsrs r1, r1, #1
    beq 7f
    asrs \value, \value, #31
    movs r1, #0
    mvns r1, r1
    lsrs r1, r1, #33 - \bits
    eors \value, r1
7:
.endm

.macro requantize row, sum
    mov r0, \sum
    ldr r1, [r4, #8 * \row]
    adds r0, r0, r1
    subs r0, r0, r6
    ldrb r1, [r4, #8 * \row + 6]
    asrs r0, r1
    saturate r0, 17
    ldrh r1, [r4, #8 * \row + 4]
    muls r0, r1, r0
    adds r0, r0, r2
    asrs r0, r3
    saturate r0, 16
    strh r0, [r5, #2 * \row]
.endm

@ Results of four rows, or their sums as they are when there are no records. Sums in r8-r11, job in r7, weights in r0;
@ leaves the flags equal when all rows are done.
    .section .text.kinglet_tiles_finish, "ax", %progbits
    .type kinglet_tiles_finish, %function
    .thumb_func
kinglet_tiles_finish:
    str r0, [r7]
    ldr r4, [r7, #16]
    ldr r5, [r7, #20]
    cmp r4, #0
    beq 8f
    ldr r2, [r7, #28]
    ldr r3, [r7, #32]
    ldr r6, [r7, #36]
    requantize 0, r8
    requantize 1, r9
    requantize 2, r10
    requantize 3, r11
    adds r4, #32
    str r4, [r7, #16]
    adds r5, #8
    str r5, [r7, #20]
    ldr r0, [r7, #24]
    cmp r5, r0
    bx lr
8:
    mov r0, r8
    mov r1, r9
    mov r2, r10
    mov r3, r11
    stmia r5!, {r0, r1, r2, r3}
    cmp r4, r4
    bx lr

@ One column of two rows in each of two words; what \first says is done with the product: mov (sums start) or add.
.macro column_int4 x, first
    ldrh r3, [r1, #\x]
    movs r2, r4
    ands r2, r6
    muls r2, r3, r2
    \first r8, r2
    lsrs r4, r4, #4
    movs r2, r5
    ands r2, r6
    muls r2, r3, r2
    \first r9, r2
    lsrs r5, r5, #4
.endm

.macro tile_int4 x, first
    ldmia r0!, {r4, r5}
    column_int4 (\x), \first
    column_int4 (\x + 2), add
    column_int4 (\x + 4), add
    ldrh r3, [r1, #\x + 6]
    ands r4, r6
    muls r4, r3, r4
    add r8, r4
    ands r5, r6
    muls r5, r3, r5
    add r9, r5
.endm

@ Empties the lanes: sums of words in r10 and r12, of high lanes in r11 and lr.
.macro spill_int4
    mov r2, r8
    add r10, r2
    lsrs r2, r2, #16
    add r11, r2
    mov r2, r9
    add r12, r2
    lsrs r2, r2, #16
    add lr, r2
.endm

    .section .text.kinglet_tiles_int4, "ax", %progbits
    .global kinglet_tiles_int4
    .type kinglet_tiles_int4, %function
    .thumb_func
kinglet_tiles_int4:
    save
    push {r0}
1:
    ldr r2, [sp]
    ldr r0, [r2]
    ldr r1, [r2, #4]
    ldr r7, [r2, #8]
    movs r2, #0
    mov r10, r2
    mov r11, r2
    mov r12, r2
    mov lr, r2
    movs r6, #15
    lsls r2, r6, #16
    orrs r6, r2
    cmp r1, r7
    bne 2f
    b 3f
2:
    tile_int4 0, mov
    tile_int4 8, add
    tile_int4 16, add
    tile_int4 24, add
    spill_int4
    adds r1, #32
    cmp r1, r7
    beq 3f
    b 2b
3:
    ldr r2, [sp]
    ldr r7, [r2, #12]
    cmp r1, r7
    beq 5f
4:
    tile_int4 0, mov
    spill_int4
    adds r1, #8
    cmp r1, r7
    bne 4b
5:
    mov r1, r11
    mov r9, r1
    lsls r1, r1, #16
    mov r2, r10
    subs r2, r2, r1
    mov r8, r2
    mov r1, lr
    mov r11, r1
    lsls r1, r1, #16
    mov r2, r12
    subs r2, r2, r1
    mov r10, r2
    ldr r7, [sp]
    bl kinglet_tiles_finish
    beq 6f
    b 1b
6:
    pop {r0}
    restore
