/* The program's bytecode, from the file HULL_BYTECODE. */
    .section .rodata
    .balign 16
    .global hull_bytecode
    .global hull_bytecode_end
hull_bytecode:
    .incbin HULL_BYTECODE
hull_bytecode_end:
    .byte 0
    .section .note.GNU-stack, "", @progbits
