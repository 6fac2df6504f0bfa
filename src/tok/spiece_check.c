#include "tok/spiece_check.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tok/unicode.h"

/* Longest piece in bytes. Trainers stop at 512 characters by far; the library's trie builder recurses once a byte. */
#define MAX_PIECE_BYTES 1024
/* Loading runs the self test: it may not cost more than an encoding of this much text. */
#define MAX_SELF_TEST_BYTES (1u << 20)

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 }; /* protobuf wire types; 3 and 4, groups, are in no model */
enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6 }; /* SentencePiece.Type */

/* One message of the file: data[at, end) is still to read. */
typedef struct message {
    const unsigned char *data;
    size_t at, end;
    const char *name; /* of the file */
} message;

typedef struct field {
    uint32_t number;
    int wire;
    size_t at;         /* of the tag */
    uint64_t value;    /* VARINT, FIXED32, FIXED64 */
    size_t begin, end; /* BYTES: offsets in the file */
} field;

typedef struct piece {
    size_t at, length;
    int type;
} piece;

typedef struct spiece {
    const unsigned char *data;
    const char *name;
    piece *pieces;
    size_t count, capacity;
    unsigned seen; /* bit per field number of ModelProto */
    bool byte_fallback;
    size_t bytes; /* pieces of type BYTE */
    field eos;    /* trainer_spec.eos_piece, end = 0 when it is the default */
    struct {
        int64_t id;
        size_t at;
    } ids[4]; /* unk, bos, eos, pad of trainer_spec */
    size_t self_test_bytes;
} spiece;

#define FAIL_AT(name, offset, ...)                                                                                     \
    swan_status_prefix(swan_status_fail(SWAN_E_FORMAT, __VA_ARGS__), "%s: byte %zu", name, (size_t)(offset))

/* ---- protobuf ---------------------------------------------------------------------------------------------------- */

static swan_status read_varint(message *m, uint64_t *value)
{
    size_t start = m->at;
    *value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (m->at == m->end) return FAIL_AT(m->name, start, "wanted a number, found the end of its message");
        unsigned char byte = m->data[m->at++];
        if (shift == 63 && byte > 1) break;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) return SWAN_OK;
    }
    return FAIL_AT(m->name, start, "wanted a number of 64 bits, found a longer one");
}

static swan_status read_fixed(message *m, size_t bytes, uint64_t *value)
{
    if (m->end - m->at < bytes) return FAIL_AT(m->name, m->at, "wanted %zu bytes, found %zu", bytes, m->end - m->at);
    *value = 0;
    for (size_t i = 0; i < bytes; i++) *value |= (uint64_t)m->data[m->at++] << 8 * i;
    return SWAN_OK;
}

static swan_status read_field(message *m, field *f)
{
    uint64_t tag = 0;
    *f = (field){.at = m->at};
    SWAN_TRY(read_varint(m, &tag));
    if (tag > UINT32_MAX || tag < 8)
        return FAIL_AT(m->name, f->at, "wanted a field, found tag %llu", (unsigned long long)tag);
    f->number = (uint32_t)tag >> 3;
    f->wire = (int)(tag & 7);
    switch (f->wire) {
    case VARINT: return read_varint(m, &f->value);
    case FIXED64: return read_fixed(m, 8, &f->value);
    case FIXED32: return read_fixed(m, 4, &f->value);
    case BYTES: break;
    default: return FAIL_AT(m->name, f->at, "wanted wire type 0, 1, 2 or 5, found %d", f->wire);
    }
    SWAN_TRY(read_varint(m, &f->value));
    if (f->value > m->end - m->at)
        return FAIL_AT(m->name, f->at, "wanted a field of %llu bytes, found %zu to its message's end",
                       (unsigned long long)f->value, m->end - m->at);
    f->begin = m->at;
    f->end = m->at += (size_t)f->value;
    return SWAN_OK;
}

static message inside(const spiece *model, const field *f)
{
    return (message){.data = model->data, .at = f->begin, .end = f->end, .name = model->name};
}

static swan_status want_wire(const spiece *model, const field *f, int wire, const char *what)
{
    if (f->wire == wire) return SWAN_OK;
    return FAIL_AT(model->name, f->at, "%s: wanted wire type %d, found %d", what, wire, f->wire);
}

/* Marks field number f->number (below 32) as seen; twice is an error, for protobuf would merge them. */
static swan_status want_once(const spiece *model, const field *f, unsigned *seen, const char *what)
{
    if (*seen >> f->number & 1) return FAIL_AT(model->name, f->at, "wanted one %s, found a second", what);
    *seen |= 1u << f->number;
    return SWAN_OK;
}

/* ---- pieces ------------------------------------------------------------------------------------------------------ */

static bool is_hex(unsigned char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); }

/* A byte piece is spelled <0xAB>. Pieces are unique, so 256 of them are all. */
static swan_status check_byte_piece(spiece *model, const piece *p)
{
    const unsigned char *text = model->data + p->at;
    bool fits = p->length == 6 && !memcmp(text, "<0x", 3) && text[5] == '>';
    if (!fits || !is_hex(text[3]) || !is_hex(text[4]))
        return FAIL_AT(model->name, p->at, "wanted a byte piece like <0x4A>, found another text of type byte");
    model->bytes++;
    return SWAN_OK;
}

static swan_status add_piece(spiece *model, const field *f, piece p)
{
    if (!p.length) return FAIL_AT(model->name, f->at, "piece %zu: wanted a text, found none", model->count);
    if (p.length > MAX_PIECE_BYTES)
        return FAIL_AT(model->name, p.at, "piece %zu: wanted at most %d bytes, found %zu", model->count,
                       MAX_PIECE_BYTES, p.length);
    const char *text = (const char *)model->data + p.at;
    size_t valid = swan_utf8_valid(text, p.length);
    const char *nul = memchr(text, 0, valid);
    if (valid < p.length || nul)
        return FAIL_AT(model->name, p.at, "piece %zu: wanted UTF-8 without NUL, found 0x%02X", model->count,
                       nul ? 0 : (unsigned char)text[valid]);
    if (p.type == BYTE) SWAN_TRY(check_byte_piece(model, &p));
    if (model->count == model->capacity) {
        size_t capacity = model->capacity ? model->capacity * 2 : 1024;
        piece *grown = realloc(model->pieces, capacity * sizeof *grown);
        if (!grown) return SWAN_FAIL(SWAN_E_NOMEM, "%s: no memory for %zu pieces", model->name, capacity);
        model->pieces = grown;
        model->capacity = capacity;
    }
    model->pieces[model->count++] = p;
    return SWAN_OK;
}

static swan_status read_piece(spiece *model, const field *whole)
{
    message m = inside(model, whole);
    piece p = {.type = NORMAL};
    unsigned seen = 0;
    while (m.at < m.end) {
        field f;
        SWAN_TRY(read_field(&m, &f));
        if (f.number >= 1 && f.number <= 3) SWAN_TRY(want_once(model, &f, &seen, "value of each kind in a piece"));
        if (f.number == 1) {
            SWAN_TRY(want_wire(model, &f, BYTES, "piece text"));
            p.at = f.begin, p.length = f.end - f.begin;
        } else if (f.number == 2) {
            SWAN_TRY(want_wire(model, &f, FIXED32, "piece score"));
            uint32_t bits = (uint32_t)f.value;
            float score;
            memcpy(&score, &bits, sizeof score);
            if (!isfinite(score))
                return FAIL_AT(model->name, f.at, "piece %zu: wanted a finite score, found %f", model->count, score);
        } else if (f.number == 3) {
            SWAN_TRY(want_wire(model, &f, VARINT, "piece type"));
            if (f.value < NORMAL || f.value > BYTE)
                return FAIL_AT(model->name, f.at, "piece %zu: wanted a type of 1 to 6, found %llu", model->count,
                               (unsigned long long)f.value);
            p.type = (int)f.value;
        }
    }
    return add_piece(model, whole, p);
}

static uint64_t hash_bytes(const unsigned char *at, size_t n)
{
    uint64_t hash = 0xCBF29CE484222325u; /* FNV-1a */
    for (size_t i = 0; i < n; i++) hash = (hash ^ at[i]) * 0x100000001B3u;
    return hash ^ hash >> 29;
}

static swan_status check_unique(const spiece *model)
{
    size_t slots = 16;
    while (slots < 2 * model->count) slots *= 2;
    uint32_t *table = calloc(slots, sizeof *table); /* piece number + 1 */
    if (!table) return SWAN_FAIL(SWAN_E_NOMEM, "%s: no memory for %zu pieces", model->name, model->count);
    swan_status status = SWAN_OK;
    for (size_t i = 0; i < model->count && status == SWAN_OK; i++) {
        const piece *p = &model->pieces[i];
        size_t slot = hash_bytes(model->data + p->at, p->length) & (slots - 1);
        for (; table[slot] && status == SWAN_OK; slot = (slot + 1) & (slots - 1)) {
            const piece *other = &model->pieces[table[slot] - 1];
            if (p->length == other->length && !memcmp(model->data + p->at, model->data + other->at, p->length))
                status = FAIL_AT(model->name, p->at, "wanted unique pieces, found %zu equal to %u", i,
                                 (unsigned)table[slot] - 1);
        }
        table[slot] = (uint32_t)i + 1;
    }
    free(table);
    return status;
}

/* ---- the other messages ------------------------------------------------------------------------------------------ */

static swan_status read_trainer(spiece *model, const field *whole)
{
    message m = inside(model, whole);
    while (m.at < m.end) {
        field f;
        SWAN_TRY(read_field(&m, &f));
        if (f.number == 3) {
            SWAN_TRY(want_wire(model, &f, VARINT, "trainer_spec.model_type"));
            if (f.value != 1)
                return swan_status_prefix(SWAN_FAIL(SWAN_E_UNSUPPORTED, "wanted model type 1, unigram, found %llu",
                                                    (unsigned long long)f.value),
                                          "%s: byte %zu", model->name, f.at);
        } else if (f.number == 35) {
            SWAN_TRY(want_wire(model, &f, VARINT, "trainer_spec.byte_fallback"));
            model->byte_fallback = f.value != 0;
        } else if (f.number >= 40 && f.number <= 43) {
            SWAN_TRY(want_wire(model, &f, VARINT, "trainer_spec.*_id"));
            model->ids[f.number - 40].id = (int64_t)f.value;
            model->ids[f.number - 40].at = f.at;
        } else if (f.number == 47) {
            SWAN_TRY(want_wire(model, &f, BYTES, "trainer_spec.eos_piece"));
            model->eos = f;
        }
    }
    return SWAN_OK;
}

static swan_status read_normalizer(spiece *model, const field *whole)
{
    message m = inside(model, whole);
    unsigned seen = 0;
    while (m.at < m.end) {
        field f;
        SWAN_TRY(read_field(&m, &f));
        if (f.number >= 3 && f.number <= 5) SWAN_TRY(want_wire(model, &f, VARINT, "normalizer_spec switch"));
        if (f.number != 2) continue;
        SWAN_TRY(want_once(model, &f, &seen, "precompiled_charsmap"));
        SWAN_TRY(want_wire(model, &f, BYTES, "normalizer_spec.precompiled_charsmap"));
        if (f.end > f.begin)
            SWAN_TRY(swan_charsmap_check(model->data + f.begin, f.end - f.begin, f.begin, model->name));
    }
    return SWAN_OK;
}

/* The library encodes these texts when it loads the model. */
static swan_status read_self_test(spiece *model, const field *whole)
{
    message m = inside(model, whole);
    while (m.at < m.end) {
        field sample, f;
        SWAN_TRY(read_field(&m, &sample));
        if (sample.number != 1) continue;
        SWAN_TRY(want_wire(model, &sample, BYTES, "self_test_data.samples"));
        message inner = inside(model, &sample);
        while (inner.at < inner.end) {
            SWAN_TRY(read_field(&inner, &f));
            if (f.number != 1) continue;
            SWAN_TRY(want_wire(model, &f, BYTES, "self_test_data.samples.input"));
            const char *text = (const char *)model->data + f.begin;
            size_t size = f.end - f.begin;
            if (swan_utf8_valid(text, size) < size || (size && memchr(text, 0, size)))
                return FAIL_AT(model->name, f.begin, "wanted UTF-8 without NUL in a self test");
            model->self_test_bytes += size;
        }
    }
    if (model->self_test_bytes > MAX_SELF_TEST_BYTES)
        return FAIL_AT(model->name, whole->at, "wanted at most %u bytes of self tests, found %zu", MAX_SELF_TEST_BYTES,
                       model->self_test_bytes);
    return SWAN_OK;
}

static swan_status read_model(spiece *model, size_t size)
{
    static const char *const names[] = {
        0, "pieces", "trainer_spec", "normalizer_spec", "self_test_data", "denormalizer_spec"};
    message m = {.data = model->data, .end = size, .name = model->name};
    while (m.at < m.end) {
        field f;
        SWAN_TRY(read_field(&m, &f));
        if (f.number > 5) continue; /* extensions of others */
        SWAN_TRY(want_wire(model, &f, BYTES, names[f.number]));
        if (f.number > 1) SWAN_TRY(want_once(model, &f, &model->seen, names[f.number]));
        switch (f.number) {
        case 1: SWAN_TRY(read_piece(model, &f)); break;
        case 2: SWAN_TRY(read_trainer(model, &f)); break;
        case 4: SWAN_TRY(read_self_test(model, &f)); break;
        default: SWAN_TRY(read_normalizer(model, &f)); break;
        }
    }
    return SWAN_OK;
}

/* ---- what holds between them ------------------------------------------------------------------------------------- */

static swan_status find_specials(const spiece *model, swan_spiece_info *info)
{
    const unsigned char *eos = model->eos.end ? model->data + model->eos.begin : (const unsigned char *)"</s>";
    size_t eos_length = model->eos.end ? model->eos.end - model->eos.begin : 4;
    int unknown = 0;
    *info = (swan_spiece_info){.pieces = (int)model->count, .eos = -1, .byte_fallback = model->byte_fallback};
    for (size_t i = 0; i < model->count; i++) {
        const piece *p = &model->pieces[i];
        if (p->type == UNKNOWN && unknown++ == 0) info->unk = (int)i;
        bool is_eos = p->length == eos_length && !memcmp(model->data + p->at, eos, eos_length);
        if (is_eos && p->type == CONTROL) info->eos = (int)i;
    }
    if (unknown != 1)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted one piece of type unknown, found %d", model->name, unknown);
    if (info->eos < 0)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted a control piece %s, found none", model->name,
                         model->eos.end ? "as trainer_spec.eos_piece names it" : "</s>");
    return SWAN_OK;
}

static swan_status check_model(const spiece *model, swan_spiece_info *info)
{
    static const char *const ids[] = {"unk_id", "bos_id", "eos_id", "pad_id"};
    if (!model->count) return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted pieces, found none", model->name);
    if (model->count > INT_MAX / 2)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: too many pieces: %zu", model->name, model->count);
    SWAN_TRY(check_unique(model));
    for (int i = 0; i < 4; i++)
        if (model->ids[i].id < -1 || model->ids[i].id >= (int64_t)model->count)
            return FAIL_AT(model->name, model->ids[i].at, "trainer_spec.%s: wanted -1 to %zu, found %lld", ids[i],
                           model->count - 1, (long long)model->ids[i].id);
    if (model->bytes != (model->byte_fallback ? 256 : 0))
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: byte fallback is %s: wanted %d byte pieces, found %zu", model->name,
                         model->byte_fallback ? "on" : "off", model->byte_fallback ? 256 : 0, model->bytes);
    return find_specials(model, info);
}

swan_status swan_spiece_check(const void *data, size_t size, const char *name, swan_spiece_info *info)
{
    if (!size) return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted a SentencePiece model, found an empty file", name);
    if (size > SWAN_SPIECE_MAX_BYTES)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted a SentencePiece model of at most %u bytes, found %zu", name,
                         SWAN_SPIECE_MAX_BYTES, size);
    spiece model = {.data = data, .name = name};
    swan_status status = read_model(&model, size);
    if (status == SWAN_OK) status = check_model(&model, info);
    free(model.pieces);
    return status;
}
