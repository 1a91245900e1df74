/** Debian's Python: what stands before it in the PATH may be a program of a version manager, which starts ten times slower. */
export const PYTHON = '/usr/bin/python3';
