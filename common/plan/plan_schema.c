#include "common/plan/plan_schema.h"

#include "common/plan/plan.h"

#define OPTIONAL (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)
#define TEXT(key, type, flags)                                                 \
 CYAML_FIELD_STRING_PTR(#key, (flags), type, key, 0, PLAN_NAME_MAX - 1)
/* Strict: "1.5" is not the whole number 1. */
#define NUMBER             (OPTIONAL | CYAML_FLAG_STRICT)
#define INTEGER(key, type) CYAML_FIELD_INT_PTR(#key, NUMBER, type, key)
#define REAL(key, type)    CYAML_FIELD_FLOAT_PTR(#key, NUMBER, type, key)
#define GROUP(key, type, flags, fields)                                        \
 CYAML_FIELD_MAPPING_PTR(#key, (flags), type, key, fields)

static const cyaml_schema_value_t integer = {
    CYAML_VALUE_INT(CYAML_FLAG_STRICT, int64_t)};
static const cyaml_schema_value_t real = {
    CYAML_VALUE_FLOAT(CYAML_FLAG_STRICT, double)};

static const cyaml_schema_field_t model_fields[] = {
    TEXT(kind, struct raw_model, CYAML_FLAG_POINTER),
    CYAML_FIELD_SEQUENCE_COUNT("hidden", OPTIONAL, struct raw_model, hidden,
                               n_hidden, &integer, 0, PLAN_HIDDEN_MAX),
    INTEGER(dim, struct raw_model), CYAML_FIELD_END};

static const cyaml_schema_field_t column_fields[] = {
    TEXT(name, struct raw_column, CYAML_FLAG_POINTER),
    CYAML_FIELD_SEQUENCE_COUNT("values", OPTIONAL, struct raw_column, values,
                               n_values, &real, 2, PLAN_VALUES_MAX),
    REAL(mean, struct raw_column), REAL(sd, struct raw_column),
    CYAML_FIELD_END};
static const cyaml_schema_value_t column = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_column, column_fields)};

static const cyaml_schema_field_t data_fields[] = {
    TEXT(source, struct raw_data, CYAML_FLAG_POINTER),
    TEXT(label, struct raw_data, OPTIONAL),
    REAL(positive_above, struct raw_data),
    CYAML_FIELD_SEQUENCE_COUNT("columns", OPTIONAL, struct raw_data, columns,
                               n_columns, &column, 0, PLAN_COLUMNS_MAX),
    TEXT(standardise, struct raw_data, OPTIONAL),
    REAL(holdout, struct raw_data),
    CYAML_FIELD_END};

static const cyaml_schema_field_t cohort_fields[] = {
    INTEGER(size, struct raw_cohort), INTEGER(min_reports, struct raw_cohort),
    REAL(over_select, struct raw_cohort), CYAML_FIELD_END};

static const cyaml_schema_field_t local_fields[] = {
    INTEGER(steps, struct raw_local),
    INTEGER(batch, struct raw_local),
    TEXT(optimizer, struct raw_local, OPTIONAL),
    REAL(learning_rate, struct raw_local),
    REAL(momentum, struct raw_local),
    REAL(weight_decay, struct raw_local),
    REAL(temperature, struct raw_local),
    CYAML_FIELD_END};

static const cyaml_schema_field_t weighting_fields[] = {
    TEXT(by, struct raw_weighting, OPTIONAL),
    INTEGER(cap, struct raw_weighting), CYAML_FIELD_END};

static const cyaml_schema_field_t secagg_fields[] = {INTEGER(ring_bits,
                                                             struct raw_secagg),
                                                     CYAML_FIELD_END};

static const cyaml_schema_field_t deadline_fields[] = {
    TEXT(stage, struct raw_deadline, OPTIONAL),
    TEXT(train, struct raw_deadline, OPTIONAL), CYAML_FIELD_END};

static const cyaml_schema_field_t sim_fields[] = {
    INTEGER(clients, struct raw_sim), INTEGER(rows, struct raw_sim),
    INTEGER(threads, struct raw_sim), TEXT(partition, struct raw_sim, OPTIONAL),
    REAL(dropout, struct raw_sim),    CYAML_FIELD_END};

static const cyaml_schema_field_t plan_fields[] = {
    TEXT(name, struct raw_plan, CYAML_FLAG_POINTER),
    TEXT(task, struct raw_plan, CYAML_FLAG_POINTER),
    GROUP(model, struct raw_plan, CYAML_FLAG_POINTER, model_fields),
    GROUP(data, struct raw_plan, CYAML_FLAG_POINTER, data_fields),
    INTEGER(rounds, struct raw_plan),
    GROUP(cohort, struct raw_plan, OPTIONAL, cohort_fields),
    GROUP(local, struct raw_plan, OPTIONAL, local_fields),
    GROUP(weighting, struct raw_plan, OPTIONAL, weighting_fields),
    REAL(clip, struct raw_plan),
    GROUP(secagg, struct raw_plan, OPTIONAL, secagg_fields),
    GROUP(deadline, struct raw_plan, OPTIONAL, deadline_fields),
    INTEGER(seed, struct raw_plan),
    GROUP(sim, struct raw_plan, OPTIONAL, sim_fields),
    CYAML_FIELD_END};

const cyaml_schema_value_t plan_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw_plan, plan_fields)};
