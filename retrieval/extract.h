/*
 * extract: the writer that quotes: sentences word by word.
 *
 * A term counts in full in the sentence itself, by HEADING_SHARE in its heading
 * or title, by PASSAGE_SHARE elsewhere in the passage:
 *
 *   score = sum over terms of share x weight / W
 *           + COSINE_SHARE x cosine(question, sentence)
 *           + ODDS_SHARE x ln(odds of the passage / odds of the best one)
 *           + READ_SHARE   where the reader found the words that answer
 *
 * At most ANSWER_SENTENCES_MAX, best passage first. The words in the best of
 * them that answer are those of the reader (passage_reader.h); where it did not
 * read the passage, span.h looks for them.
 */
#ifndef TACIT_RETRIEVAL_EXTRACT_H
#define TACIT_RETRIEVAL_EXTRACT_H

#include "retrieval/answerer.h"

extern const struct answer_writer extract_writer;

#endif
