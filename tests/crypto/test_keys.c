#include "tests/check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/base/digest.h"
#include "common/base/file.h"
#include "common/crypto/keys.h"

static char folder[256], path[300];

static int make_folder(void **state)
{
    (void)state;
    check_tmpdir(folder);
    snprintf(path, sizeof path, "%s/keys", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    check_tmpdir_remove(folder);
    return 0;
}

static void keys_are_fresh_and_their_id_is_their_hash(void **state)
{
    (void)state;
    struct keys a, b;
    struct digest d;
    check_ok(keys_new(&a));
    check_ok(keys_new(&b));
    assert_memory_not_equal(a.sign_public, b.sign_public, KEYS_PUBLIC);
    assert_memory_not_equal(a.dh_public, b.dh_public, KEYS_PUBLIC);
    assert_memory_not_equal(a.sign_public, a.dh_public, KEYS_PUBLIC);
    digest_of(&d, a.sign_public, KEYS_PUBLIC);
    assert_memory_equal(a.id, d.b, KEYS_ID);
    keys_release(&a);
    check(a.sign_secret == NULL && a.dh_secret == NULL);
    keys_release(&a); /* harmless */
    keys_release(&b);
}

static void saved_keys_are_loaded_and_never_overwritten(void **state)
{
    (void)state;
    struct keys a, b, other;
    struct stat st;
    check_ok(keys_new(&a));
    check_ok(keys_save(&a, path));
    check(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600);
    check_ok(keys_load(&b, path));
    assert_memory_equal(a.sign_public, b.sign_public, KEYS_PUBLIC);
    assert_memory_equal(a.dh_public, b.dh_public, KEYS_PUBLIC);
    assert_memory_equal(a.id, b.id, KEYS_ID);
    assert_memory_equal(a.sign_secret, b.sign_secret, KEYS_SIGN_SECRET);
    assert_memory_equal(a.dh_secret, b.dh_secret, KEYS_DH_SECRET);
    check_ok(keys_new(&other));
    check_err(keys_save(&other, path), TACIT_STATE);
    keys_release(&b);
    check_ok(keys_load(&b, path));
    assert_memory_equal(a.sign_public, b.sign_public, KEYS_PUBLIC);
    keys_release(&a);
    keys_release(&b);
    keys_release(&other);
    check(unlink(path) == 0);
}

static void a_key_file_that_others_can_touch_is_refused(void **state)
{
    (void)state;
    static const mode_t open_to_others[] = {0640, 0604, 0620, 0602, 0610,
                                            0601, 0666, 0644, 0660};
    struct keys a, b;
    check_ok(keys_new(&a));
    check_ok(keys_save(&a, path));
    for (size_t i = 0; i < sizeof open_to_others / sizeof open_to_others[0];
         i++) {
        check(chmod(path, open_to_others[i]) == 0);
        check_code(keys_load(&b, path), E_KEYS_READABLE);
    }
    check(chmod(path, 0400) == 0);
    check_ok(keys_load(&b, path));
    keys_release(&a);
    keys_release(&b);
    check(unlink(path) == 0);
}

static void rewrite(const uint8_t *bytes, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    check(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    check(close(fd) == 0);
}

static void a_damaged_key_file_is_refused_byte_by_byte(void **state)
{
    (void)state;
    struct keys a, b;
    struct buf file;
    check_ok(keys_new(&a));
    check_ok(keys_save(&a, path));
    buf_init(&file, 0);
    check_ok(file_read(path, 4096, &file));
    for (size_t at = 0; at < file.len; at++) {
        file.data[at] ^= 0x20;
        rewrite(file.data, file.len);
        check_err(keys_load(&b, path), TACIT_FORMAT);
        file.data[at] ^= 0x20;
    }
    for (size_t n = 0; n < file.len; n += 9) {
        rewrite(file.data, n);
        check_err(keys_load(&b, path), TACIT_FORMAT);
    }
    size_t whole = file.len;
    buf_put_u8(&file, 0);
    rewrite(file.data, whole + 1);
    check(keys_load(&b, path) != TACIT_OK);
    err_clear();
    rewrite(file.data, whole);
    check_ok(keys_load(&b, path));
    keys_release(&a);
    keys_release(&b);
    buf_wipe(&file);
    check(unlink(path) == 0);
}

static void a_missing_file_or_folder_is_an_error(void **state)
{
    (void)state;
    struct keys a, b;
    char nowhere[320];
    snprintf(nowhere, sizeof nowhere, "%s/no/such/keys", folder);
    check_err(keys_load(&b, path), TACIT_NOTFOUND);
    check_err(keys_load(&b, nowhere), TACIT_NOTFOUND);
    check_ok(keys_new(&a));
    check(keys_save(&a, nowhere) != TACIT_OK);
    err_clear();
    keys_release(&a);
}

static void fingerprints_are_eight_groups_and_tell_keys_apart(void **state)
{
    (void)state;
    char text[KEYS_FINGERPRINT], other[KEYS_FINGERPRINT];
    uint8_t key[KEYS_PUBLIC];
    for (int i = 0; i < KEYS_PUBLIC; i++) key[i] = (uint8_t)i;
    keys_fingerprint(text, key);
    /* tests/crypto/golden.py */
    assert_string_equal(text, "3NZX-C2H6-D79A-MKL8-8UQV-JC4J-5JZF-W8AK");
    for (int bit = 0; bit < 8 * KEYS_PUBLIC; bit++) {
        key[bit / 8] ^= (uint8_t)(1 << bit % 8);
        keys_fingerprint(other, key);
        check(strlen(other) == KEYS_FINGERPRINT - 1);
        check(strcmp(text, other) != 0);
        key[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void signatures_hold_for_their_domain_message_and_key_only(void **state)
{
    (void)state;
    struct keys a, b;
    uint8_t sig[KEYS_SIGNATURE], again[KEYS_SIGNATURE];
    const uint8_t msg[] = "the very bytes";
    check_ok(keys_new(&a));
    check_ok(keys_new(&b));
    keys_sign(&a, "one v1", msg, sizeof msg, sig);
    keys_sign_with(a.sign_secret, "one v1", msg, sizeof msg, again);
    assert_memory_equal(sig, again, sizeof sig);
    check_ok(keys_verify(a.sign_public, "one v1", msg, sizeof msg, sig));
    check_code(keys_verify(b.sign_public, "one v1", msg, sizeof msg, sig),
               E_BAD_SIGNATURE);
    check_code(keys_verify(a.sign_public, "two v1", msg, sizeof msg, sig),
               E_BAD_SIGNATURE);
    check_code(keys_verify(a.sign_public, "one v1", msg, sizeof msg - 1, sig),
               E_BAD_SIGNATURE);
    for (int bit = 0; bit < 8 * KEYS_SIGNATURE; bit++) {
        sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
        check_code(keys_verify(a.sign_public, "one v1", msg, sizeof msg, sig),
                   E_BAD_SIGNATURE);
        sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    /* Where the domain ends is signed, too. */
    keys_sign(&a, "ab", "c", 1, sig);
    check_code(keys_verify(a.sign_public, "a", "bc", 2, sig), E_BAD_SIGNATURE);
    keys_sign(&a, "ab", NULL, 0, sig);
    check_ok(keys_verify(a.sign_public, "ab", NULL, 0, sig));
    /* A key that is no point, and one of small order. */
    uint8_t zero[KEYS_PUBLIC] = {0}, ones[KEYS_PUBLIC];
    memset(ones, 0xff, sizeof ones);
    check_code(keys_verify(zero, "ab", NULL, 0, sig), E_BAD_SIGNATURE);
    check_code(keys_verify(ones, "ab", NULL, 0, sig), E_BAD_SIGNATURE);
    keys_release(&a);
    keys_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_fresh_and_their_id_is_their_hash),
        cmocka_unit_test(saved_keys_are_loaded_and_never_overwritten),
        cmocka_unit_test(a_key_file_that_others_can_touch_is_refused),
        cmocka_unit_test(a_damaged_key_file_is_refused_byte_by_byte),
        cmocka_unit_test(a_missing_file_or_folder_is_an_error),
        cmocka_unit_test(fingerprints_are_eight_groups_and_tell_keys_apart),
        cmocka_unit_test(signatures_hold_for_their_domain_message_and_key_only),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
