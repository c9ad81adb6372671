/*
 * log: one line per event on stderr, as logfmt or JSON.
 *
 *   level=info event=round_committed round=3 clients=4
 *
 * Fields are name=value pairs made by log_event's format: the caller writes
 * logfmt ("round=%u error=\"%s\""). Text that somebody else wrote always stands
 * in quotes: a quote inside it is escaped, so it cannot end its value and add
 * fields of its own. In JSON mode the same pairs become members. Lines are cut
 * at 1 KiB. Never log a key, a question, a document's text or an example.
 * Thread rule: any thread; a line is written whole.
 */
#ifndef TACIT_BASE_LOG_H
#define TACIT_BASE_LOG_H

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_LOGFMT, LOG_JSON };

/* Choose the threshold and format; before threads start. */
void log_setup(enum log_level threshold, enum log_format format);
void log_event(enum log_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
