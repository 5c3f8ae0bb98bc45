/* tests/cli/test_options.c: the parser against a table of command lines and what they must give, worked out by hand
 * from the rules of getopt_long(3); help against its own limits; man page and completions through the programs that
 * read them (mandoc, bash, zsh, fish), each where it is installed. The commands here stand in for the program's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/cli/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct cook_options {
    rs_strings arguments;
    bool dry, quiet;
    const char *output, *spice;
    rs_strings pans;
    int64_t minutes, any;
    double heat;
    int fuel;
} cook_options;

static rs_status run_nothing(const void *options, rs_error *err) {
    (void)options;
    (void)err;
    return RS_OK;
}

static const rs_option cook_table[] = {
    {"output", 'o', RS_OPT_FILE, "DISH", "where the dish goes", offsetof(cook_options, output), false, 0, 0},
    {"spice", 0, RS_OPT_STRING, "mild|hot[:N]",
     "a long line about spice: it doesn't fit, it has 'quotes', \"more\", [brackets], back\\slashes and colons: so it "
     "wraps",
     offsetof(cook_options, spice), false, 0, 0},
    {"pan", 'p', RS_OPT_STRING, "NAME", "use this pan, may be repeated (`ropescope eat` lists them)",
     offsetof(cook_options, pans), true, 0, 0},
    {"minutes", 'm', RS_OPT_INT, "N", "minutes (default: 30)", offsetof(cook_options, minutes), false, 1, 600},
    {"any", 0, RS_OPT_INT, "N", "any number", offsetof(cook_options, any), false, 0, 0},
    {"heat", 0, RS_OPT_REAL, "X", "heat", offsetof(cook_options, heat), false, 0.5, 9.5},
    {"fuel", 'f', RS_OPT_CHOICE, "gas|wood|charcoal", "what burns (default: gas)", offsetof(cook_options, fuel), false,
     0, 0},
    {"an-option-with-a-really-long-name", 0, RS_OPT_FLAG, NULL,
     ".starts with a dot and is long enough to need more than one line of the page", offsetof(cook_options, dry), false,
     0, 0},
    {"quiet", 'q', RS_OPT_FLAG, NULL, "say nothing — née „still“", offsetof(cook_options, quiet), false, 0, 0},
    {0},
};
static const rs_option eat_table[] = {{0}};
static const rs_command cook = {
    .name = "cook",
    .summary = "make a dish: it's easy",
    .synopsis = "RECIPE... -o DISH",
    .description =
        "Reads recipes and cooks them, one after the other, as long as it takes. And then some.\nA second paragraph "
        "with a \\backslash.\n.A third that begins with a dot.",
    .options = cook_table,
    .options_size = sizeof(cook_options),
    .least_arguments = 1,
    .most_arguments = 2,
    .examples = "ropescope cook soup -o bowl \"for two\"\nropescope cook a\\ b -q",
    .run = run_nothing};
static const rs_command eat = {.name = "eat",
                               .summary = "eat it",
                               .synopsis = "",
                               .description = "Eats.",
                               .options = eat_table,
                               .options_size = sizeof(rs_strings),
                               .run = run_nothing};
const rs_command *const rs_commands[] = {&cook, &eat, NULL};

/* ---- parsing ---- */

enum { MOST_WORDS = 8 };

static rs_status parse(const rs_command *c, const char *const *words, cook_options *o, bool *help, rs_error *e) {
    char copy[MOST_WORDS][64], *argv[MOST_WORDS + 1];
    static char keep[MOST_WORDS][64]; /* the options point into the words */
    int argc = 0;
    for (; words[argc]; argc++) {
        snprintf(copy[argc], sizeof copy[argc], "%s", words[argc]);
        memcpy(keep[argc], copy[argc], sizeof copy[argc]);
        argv[argc] = keep[argc];
    }
    argv[argc] = NULL;
    memset(o, 0, sizeof *o);
    memset(e, 0, sizeof *e);
    return rs_options_parse(c, argc, argv, o, help, e);
}

static rs_status cook_line(const char *const *words, cook_options *o, rs_error *e) {
    bool help = true;
    rs_status st = parse(&cook, words, o, &help, e);
    assert_false(help);
    return st;
}

#define LINE(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_forms(void **state) {
    (void)state;
    cook_options o;
    rs_error e;
    const char *const *same[] = {LINE("soup", "--output", "bowl", "--minutes", "7", "-q"),
                                 LINE("--output=bowl", "soup", "-m7", "--quiet"), LINE("-qobowl", "-m", "7", "soup"),
                                 LINE("-qm7", "-o", "bowl", "--", "soup")};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        assert_int_equal(cook_line(same[i], &o, &e), RS_OK);
        assert_string_equal(o.output, "bowl");
        assert_int_equal(o.minutes, 7);
        assert_true(o.quiet);
        assert_false(o.dry);
        assert_int_equal(o.arguments.count, 1);
        assert_string_equal(o.arguments.item[0], "soup");
    }
}

static void test_values(void **state) {
    (void)state;
    cook_options o;
    rs_error e;
    assert_int_equal(cook_line(LINE("x", "--pan=a", "-pb", "--pan", "c=d", "--heat=2.5e0", "--fuel=charcoal",
                                    "--any=-9223372036854775808"),
                               &o, &e),
                     RS_OK);
    assert_int_equal(o.pans.count, 3);
    assert_string_equal(o.pans.item[0], "a");
    assert_string_equal(o.pans.item[1], "b");
    assert_string_equal(o.pans.item[2], "c=d");
    assert_true(o.heat >= 2.5 && o.heat <= 2.5);
    assert_int_equal(o.fuel, 2);
    assert_true(o.any == INT64_MIN);
    /* a dash alone is an argument; so is everything behind "--"; negative numbers are values */
    assert_int_equal(cook_line(LINE("-", "--any", "-5", "--", "--quiet"), &o, &e), RS_OK);
    assert_int_equal(o.arguments.count, 2);
    assert_string_equal(o.arguments.item[0], "-");
    assert_string_equal(o.arguments.item[1], "--quiet");
    assert_false(o.quiet);
    assert_int_equal(o.any, -5);
    assert_int_equal(cook_line(LINE("x", "--output=--quiet"), &o, &e), RS_OK);
    assert_string_equal(o.output, "--quiet");
}

static void test_help_is_asked(void **state) {
    (void)state;
    const char *const *lines[] = {LINE("--help"), LINE("-h"), LINE("a", "b", "c", "-qh"),
                                  LINE("--quiet", "--help", "--nonsense")};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        cook_options o;
        rs_error e;
        bool help = false;
        assert_int_equal(parse(&cook, lines[i], &o, &help, &e), RS_OK);
        assert_true(help);
    }
}

static void test_refusals(void **state) {
    (void)state;
    const struct {
        const char *const *line, *says; /* says: must stand in the message */
    } cases[] = {
        {LINE("x", "--outptu=y"), "did you mean --output?"}, /* two letters swapped */
        {LINE("x", "--min=3"), "did you mean --minutes?"},   /* abbreviations are not accepted, but understood */
        {LINE("x", "--zzzz"), "unknown option --zzzz; `ropescope cook --help`"},
        {LINE("x", "-x"), "unknown option -x"},
        {LINE("x", "-qx"), "unknown option -x"},
        {LINE("x", "--output"), "value is missing"},
        {LINE("x", "-o"), "value is missing"},
        {LINE("x", "-o", "--quiet"), "found the option --quiet"},
        {LINE("x", "--output="), "is empty"},
        {LINE("x", "--quiet=yes"), "takes no value, found 'yes'"},
        {LINE("x", "--minutes=0"), "from 1 to 600"},
        {LINE("x", "--minutes=601"), "from 1 to 600"},
        {LINE("x", "--minutes=7x"), "--minutes 7x: expected a whole number"},
        {LINE("x", "--minutes=7.0"), "expected a whole number"},
        {LINE("x", "--minutes", " 7"), "expected a whole number"},
        {LINE("x", "--any=9223372036854775808"), "expected a whole number"},
        {LINE("x", "--heat=0.4"), "from 0.5 to 9.5"},
        {LINE("x", "--heat=nan"), "expected a number"},
        {LINE("x", "--heat=inf"), "expected a number"},
        {LINE("x", "--fuel=oil"), "expected gas|wood|charcoal"},
        {LINE("x", "--fuel=ga"), "expected gas|wood|charcoal"},
        {LINE("x", "--fuel=gas|wood"), "expected gas|wood|charcoal"},
        {LINE("x", "-m1", "--minutes=2"), "--minutes is given twice"},
        {LINE("--quiet"), "0 arguments are given, expected at least 1; usage: ropescope cook RECIPE... -o DISH"},
        {LINE("a", "b", "c"), "3 arguments are given, expected at most 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cook_options o;
        rs_error e;
        assert_int_equal(cook_line(cases[i].line, &o, &e), RS_E_USAGE);
        if (!strstr(e.message, cases[i].says))
            fail_msg("case %zu says \"%s\", expected \"%s\" in it", i, e.message, cases[i].says);
    }
    rs_strings none = {0};
    bool help;
    rs_error e = {0};
    char word[] = "x", *argv[] = {word, NULL};
    assert_int_equal(rs_options_parse(&eat, 1, argv, &none, &help, &e), RS_E_USAGE);
    assert_non_null(strstr(e.message, "no argument is expected"));
}

/* An rs_strings holds 64; the 65th must be refused, not written behind the array. */
static void test_full_list(void **state) {
    (void)state;
    cook_options o = {0};
    rs_error e = {0};
    bool help;
    char word[] = "-px", *argv[70];
    for (int i = 0; i < 70; i++) argv[i] = word;
    assert_int_equal(rs_options_parse(&cook, 64, argv, &o, &help, &e), RS_E_USAGE); /* no argument */
    assert_int_equal(o.pans.count, 64);
    memset(&o, 0, sizeof o);
    assert_int_equal(rs_options_parse(&cook, 65, argv, &o, &help, &e), RS_E_USAGE);
    assert_non_null(strstr(e.message, "more than 64"));
}

/* ---- help ---- */

static size_t characters(const char *s, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += ((unsigned char)s[i] & 0xC0) != 0x80;
    return count;
}

/* No line is longer than the page, ends in a blank, or loses a word: all words of the help lines come in their order.
 */
static void check_help(size_t width) {
    rs_text t = {0};
    rs_options_help(&cook, &t);
    assert_int_equal(rs_text_status(&t, NULL), RS_OK);
    for (const char *s = t.data; *s;) {
        size_t n = strcspn(s, "\n");
        bool example = strncmp(s, "  ropescope", 11) == 0;
        if (!example && characters(s, n) > width)
            fail_msg("a line of %zu characters: %.*s", characters(s, n), (int)n, s);
        assert_true(n == 0 || s[n - 1] != ' ');
        s += n + 1;
    }
    assert_true(strncmp(t.data, "Usage: ropescope cook RECIPE... -o DISH\n", 40) == 0);
    for (const rs_option *o = cook_table; o->name; o++) {
        char name[64], help[512];
        snprintf(name, sizeof name, "--%s%s%s", o->name, o->value ? "=" : "\n", o->value ? o->value : "");
        const char *at = strstr(t.data, name);
        if (!at) at = strstr(t.data, (snprintf(name, sizeof name, "--%s ", o->name), name));
        assert_non_null(at);
        at += strlen(name);
        snprintf(help, sizeof help, "%s", o->help);
        for (char *word = strtok(help, " "); word; word = strtok(NULL, " ")) {
            at += strspn(at, " \n");
            assert_memory_equal(at, word, strlen(word));
            at += strlen(word);
        }
    }
    assert_non_null(strstr(t.data, "\n  ropescope cook soup -o bowl \"for two\"\n  ropescope cook a\\ b -q\n"));
    assert_non_null(strstr(t.data, "-h, --help"));
    rs_text_deinit(&t);
}

static void test_help(void **state) {
    (void)state;
    unsetenv("COLUMNS");
    check_help(80);
    setenv("COLUMNS", "60", 1);
    check_help(60);
    setenv("COLUMNS", "120", 1);
    check_help(120);
    setenv("COLUMNS", "nonsense", 1);
    check_help(80);
    unsetenv("COLUMNS");
    rs_text t = {0};
    rs_options_overview(&t);
    assert_non_null(strstr(t.data, "\n  cook  make a dish: it's easy\n  eat   eat it\n"));
    assert_non_null(strstr(t.data, "--completion=bash|zsh|fish"));
    rs_text_deinit(&t);
}

/* ---- man page and completions, through their readers ---- */

static char folder[] = "/tmp/ropescope-options-XXXXXX";

static void write_file(const char *name, const rs_text *t) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(t->data, 1, t->bytes, f), t->bytes);
    assert_int_equal(fclose(f), 0);
}

/* Output of a shell command run in the folder; the exit status must be 0. */
static char *output_of(const char *command) {
    static char out[16384];
    char line[1024];
    snprintf(line, sizeof line, "cd %s && %s", folder, command);
    FILE *p = popen(line, "r");
    assert_non_null(p);
    size_t n = fread(out, 1, sizeof out - 1, p);
    out[n] = '\0';
    int rc = pclose(p);
    if (rc != 0) fail_msg("%s: status %d: %s", command, rc, out);
    return out;
}

static bool have(const char *program) {
    char line[64];
    snprintf(line, sizeof line, "command -v %s >/dev/null", program);
    return system(line) == 0;
}

static void test_man(void **state) {
    (void)state;
    rs_text t = {0};
    rs_options_man(&t);
    write_file("page.1", &t);
    rs_text_deinit(&t);
    if (!have("mandoc")) skip();
    assert_string_equal(output_of("mandoc -Tlint -Wwarning page.1 2>&1"), "");
    const char *page =
        output_of("mandoc -Tutf8 -Owidth=500 page.1 | col -b 2>/dev/null || mandoc -Tutf8 -Owidth=500 page.1");
    const char *expected[] = {"ropescope cook RECIPE... -o DISH",
                              "-o, --output=DISH",
                              "--spice=mild|hot[:N]",
                              "[brackets], back\\slashes",
                              ".starts with a dot",
                              "with a \\backslash.",
                              ".A third that begins",
                              "say nothing — née „still“",
                              "bowl \"for two\"",
                              "cook a\\ b -q",
                              "130"};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        if (!strstr(page, expected[i])) fail_msg("\"%s\" is not on the page:\n%s", expected[i], page);
    }
}

static void write_completion(const char *shell) {
    rs_text t = {0};
    rs_options_completion(&t, shell);
    assert_true(t.bytes > 0);
    write_file(shell, &t);
    rs_text_deinit(&t);
}

#define BASH                                                                                                           \
    "bash -c '. ./bash; COMP_WORDS=(ropescope %s); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _ropescope; echo "             \
    "\"${COMPREPLY[@]}\"'"

static void test_bash(void **state) {
    (void)state;
    write_completion("bash");
    if (!have("bash")) skip();
    const struct {
        const char *words, *offered;
    } cases[] = {
        {"co", "cook\n"},
        {"--m", "--man\n"},
        {"--completion f", "fish\n"},
        {"cook --fuel \"\"", "gas wood charcoal\n"},
        {"cook -f w", "wood\n"},
        {"cook x --mi", "--minutes\n"},
        {"cook --minutes \"\"", "\n"},
        {"cook -o ba", "bash\n"}, /* a file of the folder */
        {"cook ba", "bash\n"},
        {"eat -", "--help\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[512];
        snprintf(line, sizeof line, BASH, cases[i].words);
        assert_string_equal(output_of(line), cases[i].offered);
    }
}

static void test_zsh(void **state) {
    (void)state;
    write_completion("zsh");
    if (!have("zsh")) skip();
    assert_string_equal(output_of("zsh -n zsh 2>&1"), "");
    assert_string_equal(
        output_of("zsh -fc 'autoload -Uz compinit; compinit -D; . ./zsh; print $_comps[ropescope]' 2>&1"),
        "_ropescope\n");
}

static void test_fish(void **state) {
    (void)state;
    write_completion("fish");
    if (!have("fish")) skip();
    const char *out = output_of("HOME=$PWD fish -c 'source fish; complete -C \"ropescope cook --fuel \"' 2>/dev/null");
    assert_string_equal(
        out, "charcoal\twhat burns (default: gas)\ngas\twhat burns (default: gas)\nwood\twhat burns (default: gas)\n");
    out = output_of("HOME=$PWD fish -c 'source fish; complete -C \"ropescope cook --mi\"' 2>/dev/null");
    assert_non_null(strstr(out, "\tminutes (default: 30)\n")); /* "--minutes" or "--minutes=", by fish's version */
    assert_int_equal(strncmp(out, "--minutes", 9), 0);
    out = output_of("HOME=$PWD fish -c 'source fish; complete -C \"ropescope ea\"' 2>/dev/null");
    assert_string_equal(out, "eat\teat it\n");
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    char line[128];
    snprintf(line, sizeof line, "rm -rf %s", folder);
    return system(line);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),    cmocka_unit_test(test_values),    cmocka_unit_test(test_help_is_asked),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_full_list), cmocka_unit_test(test_help),
        cmocka_unit_test(test_man),      cmocka_unit_test(test_bash),      cmocka_unit_test(test_zsh),
        cmocka_unit_test(test_fish),
    };
    return cmocka_run_group_tests_name("options", tests, make_folder, remove_folder);
}
