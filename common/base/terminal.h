/*
 * terminal: text that fits the window it is read in.
 *
 * On a terminal long lines break between words, with an indent; in a file or a
 * pipe they stay whole, so that a program that reads them sees one line for
 * each. What is written here has been made harmless before (utf8.h).
 *
 * Columns are counted as most terminals draw: two for East Asian letters and
 * pictures, none for marks that stand on the letter before.
 */
#ifndef TACIT_BASE_TERMINAL_H
#define TACIT_BASE_TERMINAL_H

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

enum { TERMINAL_COLUMNS = 80, TERMINAL_COLUMNS_MIN = 20 };

/* Columns of the terminal behind fd, TERMINAL_COLUMNS where it does not say;
 * 0 when it is none. */
size_t terminal_columns(int fd);
/* Bytes of s that take `columns` at most, whole characters; *used what they
 * take (may be NULL). What is no UTF-8 counts one for each byte. */
size_t terminal_fit(const char *s, size_t columns, size_t *used);
/* Write s from column `at` on, in lines of `columns` at most, all but the first
 * behind `indent` spaces; a line's end in s is a space. 0 columns: as it is. A
 * word that is longer stays whole, colours take no room. Adds no line end. */
void terminal_wrap(FILE *f, const char *s, size_t at, size_t indent,
                   size_t columns);
/* The same with the columns of the terminal behind f. */
void terminal_put(FILE *f, const char *s, size_t at, size_t indent);
/* A line that begins behind `indent` spaces. */
void terminal_say(FILE *f, size_t indent, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void terminal_vsay(FILE *f, size_t indent, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));

#endif
