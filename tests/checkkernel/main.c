/* The program: its options. */
#define _DEFAULT_SOURCE
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "run.h"

typedef struct options {
    check_options run;
    const char *shapes;
    bool list, self_test;
} options;

static const char usage[] =
    "checkkernel: every row of kernels.def against fp64\n"
    "  --list              name the rows, and why one would be skipped\n"
    "  --only TEXT         rows whose family.slot=variant (format) contains TEXT\n"
    "  --seed N            of the random operands (1)\n"
    "  --gpu               rows for GPUs alone\n"
    "  --cases N           of each row only the first N\n"
    "  --here              in this process, for debuggers and sanitizers; a line for each row\n"
    "  --threads N         of the pool (3; for --bench: one a core)\n"
    "  --bench [TEXT]      time the rows over the shapes instead\n"
    "  --shapes PATTERN    files of shapes (bench/shapes/cpu.txt)\n"
    "  --self-test         seeded mutations of the reference rows must all be caught\n";

static bool parse(int argc, char **argv, options *o)
{
    static const struct option table[] = {
        {"list", no_argument, NULL, 'l'},        {"only", required_argument, NULL, 'o'},
        {"seed", required_argument, NULL, 's'},  {"threads", required_argument, NULL, 't'},
        {"bench", optional_argument, NULL, 'b'}, {"shapes", required_argument, NULL, 'f'},
        {"self-test", no_argument, NULL, 'm'},   {"help", no_argument, NULL, 'h'},
        {"gpu", no_argument, NULL, 'g'},         {"cases", required_argument, NULL, 'c'},
        {"here", no_argument, NULL, 'i'},
        {NULL, 0, NULL, 0},
    };
    int threads = -1;
    for (int at; (at = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        switch (at) {
        case 'l': o->list = true; break;
        case 'o': o->run.only = optarg; break;
        case 's': o->run.seed = strtoull(optarg, NULL, 10); break;
        case 't': threads = atoi(optarg); break;
        case 'g': o->run.cpu = false; break;
        case 'c': o->run.cases = atoi(optarg); break;
        case 'i': o->run.here = o->run.each = true; break;
        case 'b':
            o->run.bench = true;
            if (optarg) o->run.only = optarg;
            else if (optind < argc && argv[optind][0] != '-') o->run.only = argv[optind++];
            break;
        case 'f': o->shapes = optarg; break;
        case 'm': o->self_test = true; break;
        case 'h': fputs(usage, stdout); exit(0);
        default: return false;
        }
    }
    o->run.threads = threads >= 0 ? threads : o->run.bench ? 0 : 3;
    return optind == argc;
}

int main(int argc, char **argv)
{
    options o = {.run = {.seed = 1, .cpu = true, .gpu = true}, .shapes = "bench/shapes/cpu.txt"};
    if (!parse(argc, argv, &o)) {
        fputs(usage, stderr);
        return 2;
    }
    if (!o.self_test) check_find_gpu(0);
    if (o.list) {
        check_list_rows(&o.run);
        return 0;
    }
    if (!check_read_shapes(o.shapes)) return 2;
    return (o.self_test ? check_run_self_test(&o.run) : check_run_all(&o.run)) ? 1 : 0;
}
