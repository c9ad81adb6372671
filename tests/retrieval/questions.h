/*
 * questions: what the answerer is asked in tests and benchmarks.
 *
 *   sims/clinic/SITE/questions.csv     question,document,heading,split
 *   tests/retrieval/unanswerable.csv   question,kind,split: answered by no
 *                                      site and no licence; everyday ones, and
 *                                      ones that a hospital could well hear
 *
 * Rows marked train calibrate the answerer, rows marked test measure it.
 */
#ifndef TACIT_TESTS_RETRIEVAL_QUESTIONS_H
#define TACIT_TESTS_RETRIEVAL_QUESTIONS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "retrieval/search.h"

/* Answered by the licence texts of Debian; they calibrate, too. */
static const char *const licence_questions[] = {
    "may I use the contributors' patents?",
    "Can I sell copies of the program for a fee?",
    "Must I provide the source code when I distribute binaries?",
    "What happens if I violate the license terms?",
    "Is there any warranty?",
    "May I remove the copyright notice?",
    "Can I link the library with proprietary software?",
    "Who may publish new versions of the license?",
    "How do I apply the Apache license to my work?",
    "What is a transparent copy of a document?",
    "Do I have to keep the invariant sections when I translate?",
    "Can I use the name of the university to promote my product?",
    "What happens when I sue a contributor for patent infringement?",
    "Which law governs the agreement?",
    "Can a minor change be dedicated to the public domain?",
    "Do I need to accept the license to run the program?",
    "Are anti-circumvention laws addressed?",
    "What does installation information mean?",
    "How long must I offer the source code by written offer?",
    "May I combine GPL code with code under the Affero license?",
};

enum {
    N_LICENCE_QUESTIONS = sizeof licence_questions / sizeof *licence_questions,
    QUESTIONS_MAX = 512
};

static const char *const clinic_sites[] = {"harbour", "hillcrest", "lakeside",
                                           "northgate"};
enum { N_CLINIC_SITES = sizeof clinic_sites / sizeof *clinic_sites };

struct asked {
    char question[512];
    char document[128]; /* or kind */
    char heading[256], split[16];
};

struct questions {
    struct asked list[QUESTIONS_MAX];
    size_t n;
};

/* One field of an RFC 4180 line. */
static inline const char *questions_field(const char *p, char *out, size_t cap)
{
    size_t n = 0;
    int quoted = *p == '"';
    if (quoted) p++;
    while (*p && *p != '\n' && *p != '\r' && (quoted || *p != ',')) {
        if (quoted && *p == '"') {
            if (p[1] != '"') break;
            p++;
        }
        if (n + 1 < cap) out[n++] = *p;
        p++;
    }
    out[n] = '\0';
    if (quoted && *p == '"') p++;
    return *p == ',' ? p + 1 : p;
}

enum questions_kind { QUESTIONS_OF_SITE, QUESTIONS_UNANSWERABLE };

/* The rows of a file with this split; 0 when it cannot be read. */
static inline int questions_read(const char *path, enum questions_kind kind,
                                 const char *split, struct questions *out)
{
    char line[2048];
    FILE *f = fopen(path, "r");
    out->n = 0;
    if (!f) return 0;
    while (fgets(line, sizeof line, f) && out->n < QUESTIONS_MAX) {
        struct asked *a = &out->list[out->n];
        const char *p = questions_field(line, a->question, sizeof a->question);
        p = questions_field(p, a->document, sizeof a->document);
        a->heading[0] = '\0';
        if (kind == QUESTIONS_OF_SITE)
            p = questions_field(p, a->heading, sizeof a->heading);
        questions_field(p, a->split, sizeof a->split);
        out->n += strcmp(a->split, split) == 0;
    }
    fclose(f);
    return 1;
}

static inline int questions_of_site(const char *folder, const char *site,
                                    const char *split, struct questions *out)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s/questions.csv", folder, site);
    return questions_read(path, QUESTIONS_OF_SITE, split, out);
}

static inline int questions_unanswerable(const char *split,
                                         struct questions *out)
{
    return questions_read("tests/retrieval/unanswerable.csv",
                          QUESTIONS_UNANSWERABLE, split, out);
}

/* Whether a document (and heading, "" = any) is the one that answers. */
static inline int questions_is_right(const struct asked *a, const char *path,
                                     const char *heading)
{
    const char *name = strrchr(path, '/');
    size_t n = strlen(heading), k = strlen(a->heading);
    return name && strcmp(name + 1, a->document) == 0 && n >= k &&
           strcmp(heading + n - k, a->heading) == 0;
}

#endif
