/* The last section of the page: how the run was made, what each measure is, what was left out, how to get the arrays.
 */
#include "reports/measures.h"
#include "reports/page_pack.h"
#include "reports/render.h"
#include "reports/show.h"

#include <math.h>
#include <string.h>

static void write_escaped(rs_text *out, const char *s) { rs_text_html(out, s, strlen(s)); }

static void begin_row(rs_text *out, const char *name) {
    rs_text_printf(out, "<tr><th scope=\"row\">%s</th><td>", name);
}

static void end_row(rs_text *out) { rs_text_append(out, "</td></tr>\n"); }

static void row(rs_text *out, const char *name, const char *value) {
    if (value[0] == '\0') return;
    begin_row(out, name);
    write_escaped(out, value);
    end_row(out);
}

static void code_row(rs_text *out, const char *name, const char *value) {
    if (value[0] == '\0') return;
    begin_row(out, name);
    rs_text_append(out, "<code>");
    write_escaped(out, value);
    rs_text_append(out, "</code>");
    end_row(out);
}

static void write_model_files(rs_text *out, const rs_json *files) {
    for (size_t i = 0; i < rs_json_size(files); i++) {
        const rs_json *f = rs_json_at(files, i);
        const char *path = rs_json_string(rs_json_get(f, "path"), NULL),
                   *sha = rs_json_string(rs_json_get(f, "sha256"), NULL);
        char size[RS_SHOW_BYTES];
        int64_t bytes = rs_json_int(rs_json_get(f, "bytes"), 0);
        begin_row(out, i ? "" : "model files");
        write_escaped(out, path != NULL ? path : "?");
        rs_text_printf(out, ", %s, SHA-256 <code>", rs_format_bytes(size, bytes > 0 ? (uint64_t)bytes : 0));
        write_escaped(out, sha != NULL ? sha : "unknown");
        rs_text_append(out, "</code>");
        end_row(out);
    }
}

static void write_text_files(rs_text *out, const rs_json *files) {
    for (size_t i = 0; i < rs_json_size(files); i++) {
        const rs_json *f = rs_json_at(files, i);
        const char *path = rs_json_string(rs_json_get(f, "path"), NULL);
        char bytes[RS_SHOW_BYTES], tokens[RS_SHOW_BYTES], windows[RS_SHOW_BYTES], rest[RS_SHOW_BYTES];
        rs_text t = {0};
        begin_row(out, i ? "" : "text");
        write_escaped(out, path != NULL ? path : "?");
        rs_text_printf(&t, ": %s bytes, %s tokens, %s windows, %s tokens left over",
                       rs_show_count(bytes, rs_json_int(rs_json_get(f, "bytes"), -1)),
                       rs_show_count(tokens, rs_json_int(rs_json_get(f, "tokens"), -1)),
                       rs_show_count(windows, rs_json_int(rs_json_get(f, "windows"), -1)),
                       rs_show_count(rest, rs_json_int(rs_json_get(f, "left_over"), -1)));
        rs_write_html_text(out, t.data != NULL ? t.data : "");
        rs_text_deinit(&t);
        end_row(out);
    }
}

static void write_facts(rs_text *out, const rs_report_view *v) {
    char s[RS_SHOW_BYTES], t[RS_SHOW_BYTES];
    rs_text_append(out, "<table class=\"facts-table\"><tbody>\n");
    code_row(out, "command", v->command_line);
    row(out, "run file", v->path);
    row(out, "made", v->created);
    begin_row(out, "by");
    write_escaped(out, v->tool);
    rs_text_append(out, " ");
    write_escaped(out, v->tool_version);
    end_row(out);
    row(out, "container", v->model_container);
    write_model_files(out, v->model_files);
    write_text_files(out, v->text_files);
    row(out, "tokenizer", v->tokenizer);
    row(out, "BOS", v->bos);
    code_row(out, "token ids, SHA-256", v->ids_sha256);
    row(out, "device", v->device);
    row(out, "products in", v->compute);
    if (v->threads > 0) row(out, "threads", rs_show_count(s, v->threads));
    if (!isnan(v->seconds)) {
        begin_row(out, "time");
        rs_write_html_text(out, rs_show_seconds(s, v->seconds));
        if (!isnan(v->tokens_per_second)) {
            rs_text_append(out, ", ");
            rs_write_html_text(out, rs_show_number(t, v->tokens_per_second));
            rs_text_append(out, " tokens/s");
        }
        end_row(out);
    }
    if (v->peak_memory > 0) row(out, "largest memory", rs_format_bytes(s, (uint64_t)v->peak_memory));
    row(out, "probes", v->probes);
    row(out, "seed of samples", v->seed);
    rs_text_append(out, "</tbody></table>\n");
}

bool rs_measure_present(const rs_report_view *v, const char *datasets) {
    char name[RS_NAME_BYTES];
    for (const char *p = datasets; *p != '\0';) {
        size_t n = strcspn(p, " ");
        if (n < sizeof name) {
            memcpy(name, p, n);
            name[n] = '\0';
            /* The table of rotations is in every run; reduced arrays keep the last part of their name under heads/. */
            const char *slash = strrchr(name, '/');
            char reduced[RS_NAME_BYTES + 8] = "heads";
            if (slash != NULL) strncat(reduced, slash, RS_NAME_BYTES);
            if (strcmp(name, "rope/theta") == 0 || rs_view_array(v, name) != NULL || rs_view_array(v, reduced) != NULL)
                return true;
        }
        p += n + (p[n] == ' ');
    }
    return false;
}

/* What the page keeps of single heads is rounded: pictures of every head are most of its bytes. */
static void write_rounding(rs_text *out, const rs_report_view *v) {
    const rs_array *cost = rs_view_array(v, "moments/zero_cost"), *kl = rs_view_array(v, "contribution/kl_zero"),
                   *stored = rs_view_array(v, "attention_pattern/map"), *shown = rs_view_array(v, "heads/pattern"),
                   *logit = rs_view_array(v, "heads/pair_logit");
    const rs_array *costs = cost != NULL ? cost : kl;
    rs_text_append(out, "<p>So that the page can be mailed, it keeps numbers of single heads rounded: shares, "
                        "concentrations, utility and patterns in 254 steps of a square-root scale");
    if (costs != NULL)
        rs_text_printf(out, ", costs and divergences to %s",
                       rs_array_size(costs) > RS_PACK_FEW ? "4% or better" : "three digits");
    if (shown != NULL && stored != NULL && shown->dims[2] < stored->dims[2])
        rs_text_printf(out, ", patterns in %lld × %lld of the run’s %lld × %lld blocks", (long long)shown->dims[2],
                       (long long)shown->dims[3], (long long)stored->dims[2], (long long)stored->dims[3]);
    if (logit != NULL && logit->n_dims == 4)
        rs_text_printf(out,
                       ", parts of the logit in %lld bands of pairs, two distances to the octave and 127 steps either "
                       "way of a square-root scale that ends at the head’s largest part",
                       (long long)logit->dims[2]);
    rs_text_append(out, ". Means over heads have three digits. The run file has all of it as it was measured, and "
                        "<code>report --format csv</code> writes one row per pair of each head.</p>\n");
}

static void write_measures(rs_text *out, const rs_report_view *v) {
    rs_text_append(
        out,
        "<h3>What each measure is</h3>\n<p>z = x<sub>lo</sub> + j x<sub>hi</sub> is a pair of components of a query or "
        "key as it enters the rotation, "
        "after bias and q/k norm; θ its angular frequency; E the mean over positions 1 to T − 1 of all sequences; D "
        "the distance between query and key; "
        "φ<sub>1</sub>, φ<sub>2</sub> the mean over visible keys of e<sup>jθD</sup>, e<sup>2jθD</sup>.</p>\n<dl>\n");
    for (size_t i = 0; i < rs_measures_count; i++) {
        if (!rs_measure_present(v, rs_measures[i].dataset)) continue;
        rs_text_append(out, "<dt>");
        write_escaped(out, rs_measures[i].name);
        rs_text_append(out, "</dt><dd>");
        write_escaped(out, rs_measures[i].formula);
        rs_text_append(out, " <span class=\"source\">(");
        write_escaped(out, rs_measures[i].source);
        rs_text_append(out, ")</span></dd>\n");
    }
    rs_text_append(out, "</dl>\n");
}

void rs_page_missing(rs_text *out, const rs_report_view *v) {
    int n = 0;
    for (size_t i = 0; i < rs_measures_count; i++) {
        if (rs_measure_present(v, rs_measures[i].dataset)) continue;
        rs_text_append(out, n++ ? ", " : "Not in this run, and therefore left out: ");
        rs_text_append(out, rs_measures[i].name);
    }
    rs_text_append(out, n ? "." : "");
}

/* The run file's name stands inside a string of both snippets: anything but the plainest names becomes run.h5. */
static bool plain_name(const char *s) {
    for (; *s != '\0'; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
              strchr("._-/+", *s) != NULL))
            return false;
    return true;
}

static void write_access(rs_text *out, const rs_report_view *v) {
    const char *path = plain_name(v->path) ? v->path : "run.h5";
    rs_text_append(out, "<h3>How to get the arrays</h3>\n<pre>import h5py\nrun = h5py.File(\"");
    write_escaped(out, path);
    rs_text_printf(out,
                   "\")\nrun[\"frequency_norm/k_share\"][%d, 0]  # last layer, key head 0: one number per pair</pre>\n",
                   v->n_layers - 1);
    rs_text_append(out, "<pre>sqlite3 ropescope.sqlite \"SELECT model, layer, head, pair, wavelength, unrotate_cost "
                        "FROM v_pairs ORDER BY unrotate_cost DESC LIMIT 20\"</pre>\n");
}

void rs_page_made(rs_text *out, const rs_report_view *v) {
    write_facts(out, v);
    rs_text_append(out, "<p>Position 0 of every sequence is left out of all averages, whatever token stands there: "
                        "heads that have nothing to do rest on it (the attention "
                        "sink), its queries and keys are unlike all others, and one such token would colour every "
                        "mean. What concerns it is kept apart in the run file "
                        "under names that end in <code>_sink</code>.</p>\n");
    rs_text missing = {0};
    rs_page_missing(&missing, v);
    if (missing.bytes > 0) {
        rs_text_append(out, "<p>");
        write_escaped(out, missing.data);
        rs_text_append(out, "</p>\n");
    }
    rs_text_deinit(&missing);
    write_rounding(out, v);
    write_measures(out, v);
    write_access(out, v);
}
