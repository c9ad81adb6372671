/*
 * texts: what invented speakers say, for models that predict the next
 * character.
 *
 *   speaker ── favourite words, endings, sayings ──┐
 *   sentence = opening? the ADJ NOUN VERB PLACE ───┴──> characters ──> tokens
 *
 * A small grammar of our own: seven forms of sentence over lists of words. A
 * word is one of the speaker's few favourites half of the time, else any of
 * its list; a speaker has favourite forms, a way to end sentences and a saying.
 * So speakers (natural clients) share a language and differ in what they say,
 * and a character model has spelling, grammar and speaker to learn, in that
 * order.
 *
 * Row r of speaker s is a pure function of (seed, s, r): a piece of text of
 * its own, begun somewhere inside a sentence. Tokens are data_jsonl.h's.
 */
#ifndef TACIT_SIMS_TEXTS_H
#define TACIT_SIMS_TEXTS_H

#include <stddef.h>
#include <stdint.h>

/* n characters of row r of speaker s into out [n] (no NUL). */
void texts_row(uint64_t seed, uint64_t s, uint64_t r, size_t n, char *out);

#endif
