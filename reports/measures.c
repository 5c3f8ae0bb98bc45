#include "reports/measures.h"

/* Formulas speak of pair i of a head with components (lo, hi) read as z = x_lo + j x_hi, q and k as they enter the
 * rotation (after bias and q/k norm), theta_i in rad/token, T positions; E is over positions 1..T-1 of all sequences.
 */
const rs_measure rs_measures[] = {
    {"norm share", "frequency_norm/q_share frequency_norm/k_share",
     "share_i = E|z_i| / sum over pairs j of E|z_j|; 1/pairs if all pairs are used alike. A rotation does not change "
     "|z_i|.",
     "mean 2-norm of each pair: Barbero et al., ICLR 2025, arXiv 2410.06205, figure 3"},
    {"value control", "frequency_norm/v_share",
     "the same share for values, components c and c + Dv/2 read as a pair; values are not rotated, so a profile here "
     "is not RoPE's doing.",
     "control of arXiv 2410.06205, appendix"},
    {"two-norm", "frequency_norm/two_norm",
     "E|q_i| E|k_i|, k of the head's key head: bounds what the pair can add to a logit (Cauchy-Schwarz). Shown as its "
     "share in the head.",
     "arXiv 2410.06205; as a ranking: MHA2MLA, arXiv 2502.14837"},
    {"concentration R", "moments/q_concentration moments/k_concentration",
     "R_i = |E z_i| / E|z_i|; 0: directions cancel over tokens, 1: the pair points the same way for every token.",
     "mean resultant length of circular statistics, weighted by length"},
    {"zeroing cost", "moments/zero_cost",
     "mean over visible keys of (change of the scaled logit)² when q_i is set to 0, after subtracting the change's "
     "mean over the row's keys "
     "(softmax ignores it), divided by the variance of the scaled logit over visible keys. Closed form from E z, "
     "E|z|², E z² under causal "
     "attention: ½ E|q|² E|k|² + ½ Re(E q² conj(E k²) φ₂) − [½ E|q|² |E k|² E|w|² + ½ Re(E q² conj(E k)² E w²)], w = "
     "φ₁.",
     "derived for this tool; the closed form takes queries, keys and distance as independent, the sampled cost does "
     "not"},
    {"un-rotating cost", "moments/unrotate_cost",
     "the same with θ_i set to 0 instead: ½ E|q|² E|k|² (2 − 2 E cos(θD)) + ½ Re(E q² conj(E k²) E(φ₂ − 2 φ₁ + 1)) − "
     "[½ E|q|² |E k|² E|w|² + ½ Re(E q² conj(E k)² E w²)], w = φ₁ − 1.",
     "derived for this tool"},
    {"sampled cost", "moments/zero_cost_sampled moments/unrotate_cost_sampled",
     "the two costs measured on sampled query rows: the logit of every visible key with and without the edit.",
     "the check of the closed forms"},
    {"distance curve", "moments/distance_curve",
     "Zbar(D) = scale * sum over pairs of Re(E q_i conj(E k_i) e^(jθ_i D)): the mean logit at distance D that position "
     "alone explains.",
     "derived for this tool"},
    {"logit variance", "moments/logit_variance",
     "mean over sampled rows of the variance of the scaled logit over the row's visible keys.", "unit of the costs"},
    {"previous, first, diagonal", "attention_pattern/previous",
     "mean over rows t = 1..T−1 of the attention A[t,t−1], A[t,0], A[t,t].",
     "head kinds of arXiv 2410.06205, section 5; detect_head of TransformerLens"},
    {"fast share", "frequency_norm/two_norm",
     "sum of E|q_i| E|k_i| over the fastest quarter of the rotated pairs / over all pairs.",
     "heads that look at the previous token or at themselves: arXiv 2410.06205, section 5"},
    {"alignment", "contribution/align_diagonal_head",
     "mean logit at distance 0 (1) / mean of |q| |k| there, both with the softmax scale: 1 when query and key point "
     "the "
     "same way.",
     "arXiv 2410.06205, tables 3-5"},
    {"retrieval, copy", "retrieval/context",
     "of a task: mean attention from question and answer to the context without position 0 (above 0.5: a retrieval "
     "head); "
     "share of the answer's tokens at which the strongest key but position 0 lies in the item and holds the token.",
     "arXiv 2502.11276, section 5.3; copying: arXiv 2404.15574"},
    {"induction, duplicate", "attention_pattern/induction",
     "mean attention to the tokens behind earlier occurrences of the current token / to those occurrences, over rows "
     "that have any. On plain "
     "text, where frequent words repeat, it is lower than on repeated random tokens.",
     "detect_head of TransformerLens"},
    {"entropy", "attention_pattern/entropy",
     "mean over rows of -sum_s A[t,s] ln A[t,s], in nats; e^entropy is the effective number of keys.", "convention"},
    {"mean distance", "attention_pattern/mean_distance",
     "mean distance t - s of the attention that is not on position 0.", "convention"},
    {"attention by distance", "attention_pattern/profile", "mean of A[t,t−D] over the rows that have distance D.",
     "convention"},
    {"local share", "attention_pattern/distance_mass",
     "attention within 16 tokens (itself included) / attention that is not on position 0.", "convention"},
    {"pattern map", "attention_pattern/map",
     "attention summed over each of 32 × 32 blocks of (query, key) and divided by the block's rows.", "convention"},
    {"split half", "frequency_norm/q_split_half frequency_norm/k_split_half",
     "correlation over pairs of the mean norms from even and from odd sequences; 1: the two halves tell the same "
     "story.",
     "convention"},
    {"attention split half", "attention_pattern/split_half",
     "largest difference of previous, first and diagonal between even and odd sequences.", "convention"},
    {"loss", "loss/token_nll", "-ln p(token t | tokens before it) in nats, t >= 1; perplexity = e^(mean).",
     "convention"},
    {"verdict", "contribution/verdict",
     "with KL of a sampled row's attention without the pair (zero), of that the part among keys other than position 0 "
     "(rest), KL with theta_i set to 0 (unrotate), lift = mean part of the logit under the attention less that under a "
     "uniform reader, spread = variance of the part over the visible keys; the first that fits: idle: zero < 0.01 nats "
     "and |lift| < 0.1; undecided: |lift| < 1 and |lift| < 3 spread (what random weights do by themselves); bias: rest "
     "< 0.2 zero; semantic: unrotate <= 0.2 zero; positional: unrotate >= 0.5 zero; undecided.",
     "derived for this tool; calibrated on models with planted heads and on random weights (no head found there)"},
    {"attention moved (KL)", "contribution/kl_zero contribution/kl_unrotate",
     "KL(P || P') in nats, mean over sampled query rows: P the head's attention, P' the one from logits without the "
     "pair, or with theta_i = 0. Predicted: half the variance under P of what the edit changes in the logit.",
     "second-order expansion of the divergence of two softmaxes"},
    {"mean logit by distance", "angular_spectrum/mean_logit",
     "mean over all (query, key) of a distance of the scaled logit, position 0 left out, by FFT cross-correlation.",
     "derived for this tool"},
    {"utility", "utility/pair",
     "the mask u in [0, 1] on the components of the rotated query that minimises mean |Attn(q) - Attn(q u)|^2 + |u|_1 "
     "/ "
     "head width over sampled rows; mean of the pair's two components, mean over sequences.",
     "utility score: arXiv 2502.11276, equation 4"},
    {"spectrum entropy", "angular_spectrum/q_spectrum_entropy",
     "entropy of the power spectrum of |q_i| along the sequence (frames of up to 1,024 positions, Hann window), "
     "divided "
     "by that of equal shares; low: the constant part and few rhythms hold the power.",
     "Frequency Entropy (SpectrumFE), ICLR 2026, OpenReview 1JZuEDq62N"},
    {"norm spectrum", "spectrum/q spectrum/k",
     "power of |z_i| along the sequence (the same frames) in a band of periods / power of the frequencies without the "
     "constant part, over the same ratio of white noise, which has equal power at all frequencies.",
     "frames and window as in Frequency Entropy, ICLR 2026; against white noise: convention"},
    {"ablation", "ablations/delta",
     "loss per token with the edit less without, on the same tokens, nothing trained behind it; of a task, whose "
     "answers "
     "alone are scored, also the share of their tokens that are the likeliest; 95 % interval: paired "
     "bootstrap over sequences; beside it random pairs, as many in the same heads.",
     "arXiv 2502.11276, section 5.4; p-RoPE: arXiv 2410.06205"},
    {"cache bytes", "rope/theta",
     "2 × positions × rotated components × 4: both tables, float32, once for each distinct rotation.",
     "arXiv 2603.11611, appendix C, and the code it describes"},
};
const size_t rs_measures_count = sizeof rs_measures / sizeof *rs_measures;

#define HEAD(field) offsetof(rs_view_head, field)
const rs_head_rule rs_head_rules[RS_HEAD_KINDS] = {
    {RS_HEAD_PREVIOUS, "previous token", "previous", HEAD(previous), 0.4, false, "previous >= 0.4"},
    {RS_HEAD_DIAGONAL, "itself (diagonal)", "diagonal", HEAD(diagonal), 0.4, false, "diagonal >= 0.4"},
    {RS_HEAD_INDUCTION, "induction", "induction", HEAD(induction), 0.3, false, "induction >= 0.3"},
    {RS_HEAD_FIRST, "first token (sink)", "first", HEAD(first), 0.3, false,
     "first >= 0.3, the usual bound for attention sinks (arXiv 2410.10781)"},
    {RS_HEAD_LOCAL, "local", "local", HEAD(local), 0.5, false,
     "at least half of what is not on the first token lies within 16 tokens"},
    {RS_HEAD_DIFFUSE, "diffuse", "diffuse", HEAD(effective), 0.1, true, "e^entropy >= a tenth of the analysed context"},
    {RS_HEAD_MIXED, "none of these", "mixed", HEAD(entropy), 0.0, false, "no rule fits"},
};

const rs_map_quantity rs_map_quantities[RS_VIEW_QUANTITIES] = {
    {"q_share", "q norm", "Where does the query norm sit?", "frequency_norm/q_share", "share of the head's norm",
     "share", false, false, false},
    {"k_share", "k norm", "Where does the key norm sit?", "frequency_norm/k_share", "share of the head's norm", "share",
     false, false, true},
    {"v_share", "v norm (control)", "Control: where does the norm of the values sit, which are not rotated?",
     "frequency_norm/v_share", "share of the head's norm", "share", false, false, true},
    {"two_norm_share", "q·k two-norm", "Which pairs could move the logits most?", "heads/two_norm_share",
     "share of the head's sum", "product", false, false, false},
    {"unrotate_cost", "un-rotating cost", "What does it cost to stop rotating a pair?", "moments/unrotate_cost",
     "of the logit variance", "cost", true, true, false},
    {"zero_cost", "zeroing cost", "What does it cost to remove a pair?", "moments/zero_cost", "of the logit variance",
     "cost", true, false, false},
    {"q_concentration", "R of q", "Does the query point the same way for every token?", "moments/q_concentration",
     "R, 0 to 1", "R", false, false, false},
    {"k_concentration", "R of k", "Does the key point the same way for every token?", "moments/k_concentration",
     "R, 0 to 1", "R", false, false, true},
    {"kl_zero", "attention without the pair", "How far does a head's attention move when the pair is removed?",
     "contribution/kl_zero", "nats (KL)", "kl", true, false, false},
    {"kl_unrotate", "attention un-rotated", "How far does a head's attention move when the pair no longer turns?",
     "contribution/kl_unrotate", "nats (KL)", "kl", true, true, false},
    {"q_spectrum_entropy", "spectrum entropy", "How uneven in time is the query's norm: one rhythm, or noise?",
     "angular_spectrum/q_spectrum_entropy", "SpectrumFE, 0 to 1", "R", false, false, false},
    {"utility", "utility", "How much of the query does a head's output need?", "utility/pair", "u, 0 to 1", "R", false,
     false, false},
};
