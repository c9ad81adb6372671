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
    INTEGER(dim, struct raw_model),
    INTEGER(classes, struct raw_model),
    INTEGER(layers, struct raw_model),
    INTEGER(heads, struct raw_model),
    TEXT(norm, struct raw_model, OPTIONAL),
    TEXT(encoder, struct raw_model, OPTIONAL),
    CYAML_FIELD_END};

static const cyaml_schema_field_t base_fields[] = {
    TEXT(name, struct raw_base, CYAML_FLAG_POINTER),
    CYAML_FIELD_STRING_PTR("hash", CYAML_FLAG_POINTER, struct raw_base, hash, 0,
                           2 * DIGEST_BYTES),
    CYAML_FIELD_END};

static const cyaml_schema_value_t target = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 0, PLAN_NAME_MAX - 1)};

static const cyaml_schema_field_t adapter_fields[] = {
    TEXT(kind, struct raw_adapter, OPTIONAL), INTEGER(rank, struct raw_adapter),
    REAL(alpha, struct raw_adapter),
    CYAML_FIELD_SEQUENCE_COUNT("targets", OPTIONAL, struct raw_adapter, targets,
                               n_targets, &target, 1, 7),
    CYAML_FIELD_END};

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
    TEXT(event, struct raw_data, OPTIONAL),
    TEXT(format, struct raw_data, OPTIONAL),
    INTEGER(channels, struct raw_data),
    INTEGER(height, struct raw_data),
    INTEGER(width, struct raw_data),
    INTEGER(length, struct raw_data),
    INTEGER(classes, struct raw_data),
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
    INTEGER(epochs, struct raw_local),
    INTEGER(batch, struct raw_local),
    INTEGER(hard_negatives, struct raw_local),
    INTEGER(memory_mib, struct raw_local),
    TEXT(numbers, struct raw_local, OPTIONAL),
    TEXT(optimizer, struct raw_local, OPTIONAL),
    REAL(learning_rate, struct raw_local),
    REAL(momentum, struct raw_local),
    REAL(weight_decay, struct raw_local),
    REAL(temperature, struct raw_local),
    REAL(epsilon, struct raw_local),
    INTEGER(seeds, struct raw_local),
    CYAML_FIELD_END};

static const cyaml_schema_field_t weighting_fields[] = {
    TEXT(by, struct raw_weighting, OPTIONAL),
    INTEGER(cap, struct raw_weighting), CYAML_FIELD_END};

static const cyaml_schema_field_t secagg_fields[] = {
    TEXT(mode, struct raw_secagg, OPTIONAL),
    INTEGER(ring_bits, struct raw_secagg), CYAML_FIELD_END};

static const cyaml_schema_field_t deadline_fields[] = {
    TEXT(stage, struct raw_deadline, OPTIONAL),
    TEXT(train, struct raw_deadline, OPTIONAL), CYAML_FIELD_END};

static const cyaml_schema_field_t strategy_fields[] = {
    TEXT(kind, struct raw_strategy, CYAML_FLAG_POINTER),
    REAL(server_learning_rate, struct raw_strategy),
    REAL(momentum, struct raw_strategy),
    REAL(beta1, struct raw_strategy),
    REAL(beta2, struct raw_strategy),
    REAL(tau, struct raw_strategy),
    REAL(mu, struct raw_strategy),
    REAL(q, struct raw_strategy),
    REAL(alpha, struct raw_strategy),
    REAL(lambda, struct raw_strategy),
    REAL(bound, struct raw_strategy),
    REAL(trim, struct raw_strategy),
    REAL(staleness, struct raw_strategy),
    INTEGER(byzantine, struct raw_strategy),
    INTEGER(keep, struct raw_strategy),
    INTEGER(iterations, struct raw_strategy),
    INTEGER(personal, struct raw_strategy),
    INTEGER(groups, struct raw_strategy),
    INTEGER(concurrent, struct raw_strategy),
    INTEGER(trusted, struct raw_strategy),
    CYAML_FIELD_END};

static const cyaml_schema_field_t privacy_fields[] = {
    TEXT(unit, struct raw_privacy, OPTIONAL),
    TEXT(noise, struct raw_privacy, OPTIONAL),
    REAL(epsilon, struct raw_privacy),
    REAL(delta, struct raw_privacy),
    REAL(clip, struct raw_privacy),
    REAL(sample, struct raw_privacy),
    INTEGER(colluders, struct raw_privacy),
    INTEGER(retries, struct raw_privacy),
    CYAML_FIELD_END};

static const cyaml_schema_field_t attack_fields[] = {
    TEXT(kind, struct raw_attack, CYAML_FLAG_POINTER),
    REAL(share, struct raw_attack),
    REAL(factor, struct raw_attack),
    INTEGER(from, struct raw_attack),
    INTEGER(to, struct raw_attack),
    CYAML_FIELD_END};

static const cyaml_schema_field_t devices_fields[] = {
    REAL(rows_per_s, struct raw_devices),
    REAL(speed_sd, struct raw_devices),
    REAL(up_mbps, struct raw_devices),
    REAL(down_mbps, struct raw_devices),
    REAL(link_sd, struct raw_devices),
    REAL(latency_ms, struct raw_devices),
    REAL(available, struct raw_devices),
    REAL(battery, struct raw_devices),
    REAL(delay, struct raw_devices),
    REAL(duplicate, struct raw_devices),
    REAL(crash, struct raw_devices),
    REAL(skew_s, struct raw_devices),
    CYAML_FIELD_END};

static const cyaml_schema_field_t sim_fields[] = {
    INTEGER(clients, struct raw_sim),
    INTEGER(rows, struct raw_sim),
    INTEGER(threads, struct raw_sim),
    INTEGER(labels, struct raw_sim),
    INTEGER(evaluate_every, struct raw_sim),
    INTEGER(checkpoint_every, struct raw_sim),
    TEXT(partition, struct raw_sim, OPTIONAL),
    TEXT(protocol, struct raw_sim, OPTIONAL),
    TEXT(column, struct raw_sim, OPTIONAL),
    TEXT(sizes, struct raw_sim, OPTIONAL),
    TEXT(selection, struct raw_sim, OPTIONAL),
    TEXT(held_out, struct raw_sim, OPTIONAL),
    REAL(dropout, struct raw_sim),
    REAL(stragglers, struct raw_sim),
    REAL(alpha, struct raw_sim),
    REAL(shift, struct raw_sim),
    REAL(a, struct raw_sim),
    REAL(b, struct raw_sim),
    CYAML_FIELD_SEQUENCE_COUNT("ranks", OPTIONAL, struct raw_sim, ranks,
                               n_ranks, &integer, 1, PLAN_RANKS_MAX),
    GROUP(attack, struct raw_sim, OPTIONAL, attack_fields),
    GROUP(devices, struct raw_sim, OPTIONAL, devices_fields),
    CYAML_FIELD_END};

static const cyaml_schema_field_t plan_fields[] = {
    TEXT(name, struct raw_plan, CYAML_FLAG_POINTER),
    TEXT(task, struct raw_plan, CYAML_FLAG_POINTER),
    GROUP(model, struct raw_plan, OPTIONAL, model_fields),
    GROUP(base, struct raw_plan, OPTIONAL, base_fields),
    GROUP(adapter, struct raw_plan, OPTIONAL, adapter_fields),
    GROUP(data, struct raw_plan, CYAML_FLAG_POINTER, data_fields),
    INTEGER(rounds, struct raw_plan),
    GROUP(cohort, struct raw_plan, OPTIONAL, cohort_fields),
    GROUP(strategy, struct raw_plan, OPTIONAL, strategy_fields),
    GROUP(local, struct raw_plan, OPTIONAL, local_fields),
    GROUP(weighting, struct raw_plan, OPTIONAL, weighting_fields),
    REAL(clip, struct raw_plan),
    GROUP(privacy, struct raw_plan, OPTIONAL, privacy_fields),
    GROUP(secagg, struct raw_plan, OPTIONAL, secagg_fields),
    GROUP(deadline, struct raw_plan, OPTIONAL, deadline_fields),
    INTEGER(seed, struct raw_plan),
    GROUP(sim, struct raw_plan, OPTIONAL, sim_fields),
    CYAML_FIELD_END};

const cyaml_schema_value_t plan_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw_plan, plan_fields)};
