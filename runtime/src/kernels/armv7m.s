@ Sums over the layout Tiles for Cortex-M3. armv7m.rs says what each does.
@ r0 = job, see there.

    .syntax unified
    .thumb

@ One column of four rows, int8: word \w; sums of rows 0 and 1 in r9 and r10, of rows 2 and 3 in r11 and r12.
.macro column_int8 w
    ldrh r8, [r1], #2
    and r3, r2, \w
    umlal r9, r10, r3, r8
    and r3, r2, \w, ror #16
    umlal r11, r12, r3, r8
.endm

.macro tile_int8
    ldm r0!, {r4, r5, r6, r7}
    column_int8 r4
    column_int8 r5
    column_int8 r6
    column_int8 r7
.endm

@ rows 0 and 1 lie 24 bits apart in \lo and \hi: \lo = row 0, \hi = row 1
.macro split_int8 lo, hi
    lsl \hi, \hi, #8
    orr \hi, \hi, \lo, lsr #24
    bic \lo, \lo, #0xFF000000
.endm

@ Results of four rows, or their sums as they are when there are no records (r2 = 0). Sums in r9-r12, the job's copy in
@ the stack; leaves the flags equal when all rows are done.
.macro finish
    ldr r2, [sp, #16]
    ldr r3, [sp, #20]
    cmp r2, #0
    beq 9f
    ldrd r6, r7, [sp, #28]
    ldr r8, [sp, #36]
    requantize 0, r9
    requantize 1, r10
    requantize 2, r11
    requantize 3, r12
    adds r2, r2, #32
    str r2, [sp, #16]
    adds r3, r3, #8
    str r3, [sp, #20]
    ldr r4, [sp, #24]
    cmp r3, r4
    b 10f
9:
    stm r3, {r9, r10, r11, r12}
    cmp r2, r2
10:
.endm

@ \sum plus bias, less the correction, to a result. r2 = records, r3 = out, r6 = rounding, r7 = second shift, r8 = correction.
.macro requantize row, sum
    ldr r4, [r2, #8 * \row]
    sub \sum, \sum, r8
    add \sum, \sum, r4
    ldrb r5, [r2, #8 * \row + 6]
    ldrh r4, [r2, #8 * \row + 4]
    asr \sum, \sum, r5
    ssat \sum, #17, \sum
    mla \sum, \sum, r4, r6
    asr \sum, \sum, r7
    ssat \sum, #16, \sum
    strh \sum, [r3, #2 * \row]
.endm

@ The job is copied to the stack: weights, columns, end of whole blocks, end, records, out, out end, rounding, shift,
@ correction.
.macro enter
    push {r4-r11, lr}
    ldm r0, {r0-r9}
    push {r0-r9}
.endm

.macro leave
    add sp, sp, #40
    pop {r4-r11, pc}
.endm

@ A 64-bit sum holds 256 columns: longer rows are summed up in the stack, 256 by 256.
    .section .text.kinglet_tiles_int8, "ax", %progbits
    .global kinglet_tiles_int8
    .type kinglet_tiles_int8, %function
    .thumb_func
kinglet_tiles_int8:
    enter
1:
    mov r2, #0xFF
    orr r2, r2, #0xFF000000
    ldr r1, [sp, #4]
    ldr r3, [sp, #12]
    mov r9, #0
    mov r10, r9
    mov r11, r9
    mov r12, r9
6:
    sub lr, r3, r1
    cmp lr, #512
    it hi
    movhi lr, #512
    bic r4, lr, #31
    add lr, lr, r1
    push {r9, r10, r11, r12, lr}
    add lr, r1, r4
    mov r9, #0
    mov r10, r9
    mov r11, r9
    mov r12, r9
    cmp r1, lr
    beq 3f
2:
    .rept 4
    tile_int8
    .endr
    cmp r1, lr
    bne 2b
3:
    ldr lr, [sp, #16]
    cmp r1, lr
    beq 5f
4:
    tile_int8
    cmp r1, lr
    bne 4b
5:
    split_int8 r9, r10
    split_int8 r11, r12
    pop {r4, r5, r6, r7, lr}
    add r9, r9, r4
    add r10, r10, r5
    add r11, r11, r6
    add r12, r12, r7
    ldr r3, [sp, #12]
    cmp r1, r3
    bne 6b
    finish
    bne 1b
    leave

@ Four columns of four rows, int4: two words, two rows in the 16-bit lanes of each, a nibble a column.
@ \first = mul: sums start here.
.macro tile_int4 first
    ldrd r4, r5, [r0], #8
    ldrh r6, [r1], #2
    and r3, r2, r4
    .ifc \first, mul
    mul r7, r3, r6
    .else
    mla r7, r3, r6, r7
    .endif
    and r3, r2, r5
    .ifc \first, mul
    mul r8, r3, r6
    .else
    mla r8, r3, r6, r8
    .endif
    column_int4 4
    column_int4 8
    column_int4 12
.endm

.macro column_int4 shift
    ldrh r6, [r1], #2
    and r3, r2, r4, lsr #\shift
    mla r7, r3, r6, r7
    and r3, r2, r5, lsr #\shift
    mla r8, r3, r6, r8
.endm

@ Empties the lanes: sums of words in r9 and r11, of high lanes in r10 and r12.
.macro spill_int4
    add r9, r9, r7
    add r10, r10, r7, lsr #16
    add r11, r11, r8
    add r12, r12, r8, lsr #16
.endm

    .section .text.kinglet_tiles_int4, "ax", %progbits
    .global kinglet_tiles_int4
    .type kinglet_tiles_int4, %function
    .thumb_func
kinglet_tiles_int4:
    enter
1:
    ldr r1, [sp, #4]
    ldr lr, [sp, #8]
    mov r2, #0x000F000F
    mov r9, #0
    mov r10, r9
    mov r11, r9
    mov r12, r9
    cmp r1, lr
    beq 3f
2:
    tile_int4 mul
    tile_int4 mla
    tile_int4 mla
    tile_int4 mla
    spill_int4
    cmp r1, lr
    bne 2b
3:
    ldr lr, [sp, #12]
    cmp r1, lr
    beq 5f
4:
    tile_int4 mul
    spill_int4
    cmp r1, lr
    bne 4b
5:
    sub r9, r9, r10, lsl #16
    sub r11, r11, r12, lsl #16
    finish
    bne 1b
    leave
