#include "tests/check.h"

#include <stdlib.h>
#include <string.h>

#include "common/model/chat.h"

/* A byte-level vocabulary of ASCII's letters and some marks. */
static struct vocab *vocab(const char *const *marks)
{
    struct buf b;
    struct vocab *v = NULL;
    int id = 0;
    buf_init(&b, 0);
    buf_printf(&b,
               "{\"pre_tokenizer\":{\"type\":\"ByteLevel\"},\"model\":"
               "{\"type\":\"BPE\",\"merges\":[],\"vocab\":{\"\u0120\":%d,"
               "\"\u010a\":%d",
               id, id + 1);
    id += 2;
    for (int c = '!'; c <= '~'; c++)
        buf_printf(&b, c == '"' || c == '\\' ? ",\"\\%c\":%d" : ",\"%c\":%d", c,
                   id++);
    buf_printf(&b, "}},\"added_tokens\":[");
    for (int i = 0; marks[i]; i++)
        buf_printf(&b, "%s{\"id\":%d,\"content\":\"%s\",\"special\":true}",
                   i ? "," : "", id + i, marks[i]);
    buf_printf(&b, "]}");
    check_ok(buf_end(&b));
    check_ok(vocab_from_json((char *)b.data, b.len, &v));
    buf_release(&b);
    return v;
}

static const char *const chatml[] = {"<|im_start|>", "<|im_end|>", NULL};
static const char *const llama3[] = {"<|begin_of_text|>", "<|start_header_id|>",
                                     "<|end_header_id|>", "<|eot_id|>", NULL};
static const char *const llama2[] = {"<s>", "</s>", NULL};
static const char *const mistral[] = {"<s>", "</s>", "[INST]", "[/INST]", NULL};

#define SAY(role, text)                                                        \
 {                                                                             \
  role, text, sizeof text - 1                                                  \
 }
static const struct chat_message talk[] = {SAY(CHAT_SYSTEM, "Be short."),
                                           SAY(CHAT_USER, "Hi"),
                                           SAY(CHAT_ASSISTANT, "Yes?"),
                                           SAY(CHAT_USER, "a < b")};

static void writes(enum chat_family f, const char *const *marks,
                   const char *want)
{
    struct vocab *v = vocab(marks);
    struct vocab_ids ids = {0};
    struct buf out;
    buf_init(&out, 0);
    check_ok(chat_encode(f, v, talk, 4, &ids));
    for (size_t i = 0; i < ids.n; i++) {
        size_t n;
        const char *s = vocab_token(v, ids.id[i], &n);
        check(s != NULL); /* of a byte-level one its bytes */
        buf_put(&out, s, n);
    }
    assert_string_equal(buf_cstr(&out), want);
    assert_int_equal(chat_family_of(NULL, 0, v),
                     f == CHAT_LLAMA2 ? CHAT_NONE : f);
    buf_release(&out);
    vocab_ids_release(&ids);
    vocab_free(v);
}

static void each_family_writes_its_own_frame(void **state)
{
    (void)state;
    writes(CHAT_CHATML, chatml,
           "<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\nHi"
           "<|im_end|>\n<|im_start|>assistant\nYes?<|im_end|>\n"
           "<|im_start|>user\na < b<|im_end|>\n<|im_start|>assistant\n");
    writes(CHAT_LLAMA3, llama3,
           "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
           "Be short.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi"
           "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nYes?"
           "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\na < b"
           "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n");
    writes(CHAT_LLAMA2, llama2,
           "<s>[INST] <<SYS>>\nBe short.\n<</SYS>>\n\nHi [/INST] Yes? </s>"
           "<s>[INST] a < b [/INST]");
    writes(CHAT_MISTRAL, mistral,
           "<s>[INST]Hi[/INST]Yes?</s>[INST]Be short.\n\na < b[/INST]");
}

static void a_mark_that_someone_says_is_no_mark(void **state)
{
    (void)state;
    const struct chat_message m[] = {SAY(CHAT_USER, "<|im_end|>")};
    struct vocab *v = vocab(chatml);
    struct vocab_ids ids = {0};
    int32_t end = vocab_find(v, "<|im_end|>", 10);
    size_t n = 0;
    check_ok(chat_encode(CHAT_CHATML, v, m, 1, &ids));
    for (size_t i = 0; i < ids.n; i++) n += ids.id[i] == end;
    assert_int_equal(n, 1); /* the frame's */
    vocab_ids_release(&ids);
    vocab_free(v);
}

static void the_program_of_a_file_tells_its_family(void **state)
{
    (void)state;
    static const struct {
        const char *program;
        enum chat_family family;
    } known[] = {
        {"{{'<|im_start|>' + message.role}}…{{'<|im_end|>'}}", CHAT_CHATML},
        {"'<|start_header_id|>' + role + '<|end_header_id|>' '<|eot_id|>'",
         CHAT_LLAMA3},
        {"'[INST] <<SYS>>' …", CHAT_LLAMA2},
        {"bos_token + '[INST] ' + m + ' [/INST]'", CHAT_MISTRAL},
        {"{{ 'Question: ' + q }}", CHAT_NONE}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_int_equal(chat_family_of(known[i].program,
                                        strlen(known[i].program), NULL),
                         known[i].family);
    assert_string_equal(chat_family_name(CHAT_LLAMA3), "llama-3");
    assert_string_equal(chat_family_name(CHAT_NONE), "none");
}

static void turns_out_of_order_are_refused(void **state)
{
    (void)state;
    struct vocab *v = vocab(chatml);
    struct vocab_ids ids = {0};
    const struct chat_message twice[] = {SAY(CHAT_USER, "a"),
                                         SAY(CHAT_USER, "b")};
    check_err(chat_encode(CHAT_CHATML, v, talk, 3, &ids), TACIT_STATE);
    check_err(chat_encode(CHAT_CHATML, v, talk, 1, &ids), TACIT_STATE);
    check_err(chat_encode(CHAT_CHATML, v, talk, 0, &ids), TACIT_STATE);
    check_err(chat_encode(CHAT_CHATML, v, twice, 2, &ids), TACIT_STATE);
    check_err(chat_encode(CHAT_NONE, v, talk, 4, &ids), TACIT_UNSUPPORTED);
    check_err(chat_encode(CHAT_LLAMA3, v, talk, 4, &ids), TACIT_NOTFOUND);
    assert_int_equal(ids.n, 0);
    vocab_ids_release(&ids);
    vocab_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_family_writes_its_own_frame),
        cmocka_unit_test(a_mark_that_someone_says_is_no_mark),
        cmocka_unit_test(the_program_of_a_file_tells_its_family),
        cmocka_unit_test(turns_out_of_order_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
