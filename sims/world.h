/*
 * world: the invented patients of a simulated clinic.
 *
 * Four sites that differ as the four centres of the UCI heart-disease study do
 * (Janosi et al. 1988, doi 10.24432/C52P4X): their sizes are the centres' rows
 * without a gap, and who is seen there (age, sex, pain, sugar, ECG, pulse,
 * disease) is near the centres' figures. Not the same: cholesterol, which one
 * centre did not measure, and ST depression, drawn from a folded normal. Each
 * patient's features come from the site's distributions, then
 *
 *   P(disease | x) = sigmoid(b . x)     the same b at every site
 *
 * so that sites share the physiology and differ in whom they see: the case
 * where a small site gains most from the others. No row is a person.
 */
#ifndef TACIT_SIMS_WORLD_H
#define TACIT_SIMS_WORLD_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"

enum { WORLD_SITES = 4 };

struct world_patient {
    int age, sex, cp, trestbps, chol, fbs, restecg, thalach, exang;
    double oldpeak;
    int disease;
};

const char *world_site_name(size_t site);
/* Patients that the site has when nothing else is asked for. */
size_t world_site_rows(size_t site);
/* Site number by name; NOTFOUND names the nearest. */
TACIT_CHECKED enum tacit_err world_site_find(const char *name, size_t *out);
/* Patient number `row` of a site: a pure function of (seed, site, row). */
void world_patient(uint64_t seed, size_t site, uint64_t row,
                   struct world_patient *out);
/* CSV with a header line: rows [first, first + n_rows) of the site. */
TACIT_CHECKED enum tacit_err world_csv(uint64_t seed, size_t site,
                                       uint64_t first, size_t n_rows,
                                       struct buf *out);

#endif
