/* probes/retrieval.h: above which values of /retrieval a head counts as one that retrieves. Read by cmd_ablate.c. */
#ifndef RS_PROBES_RETRIEVAL_H
#define RS_PROBES_RETRIEVAL_H

/* retrieval/context (arXiv 2502.11276, footnote 2) and retrieval/copy (as used with arXiv 2404.15574). */
#define RS_RETRIEVAL_CONTEXT 0.5
#define RS_RETRIEVAL_COPY 0.1

#endif
