// The one place where C++ is called: no exception leaves this file.
#include "tok/tokenizer.h"

#include <sentencepiece_processor.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "tok/spiece_check.h"
#include "tok/unicode.h"

// The library logs to stderr what its status says too. Its switch is exported but in no public header, hence weak.
namespace sentencepiece
{
namespace logging
{
void SetMinLogLevel(int level) __attribute__((weak));
}
} // namespace sentencepiece

namespace
{

constexpr int kLogFatal = 3;
constexpr int kMaxExtraIds = 1000;
constexpr int kUmt5Pieces = 256000, kUmt5ExtraIds = 300;

struct Special {
    std::string text;
    int id;
};

// Runs body, which returns swan_status, and turns what it throws into a status.
template <typename Body> swan_status guarded(const char *what, Body body) noexcept
{
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", what);
    } catch (const std::exception &e) {
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: SentencePiece failed: %s", what, e.what());
    } catch (...) {
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: SentencePiece failed", what);
    }
}

swan_status read_file(const char *path, std::string *out)
{
    struct Closer {
        void operator()(std::FILE *file) const { std::fclose(file); }
    };
    std::unique_ptr<std::FILE, Closer> file(std::fopen(path, "rb"));
    if (!file) return SWAN_FAIL(errno == ENOENT ? SWAN_E_NOT_FOUND : SWAN_E_IO, "%s: %s", path, std::strerror(errno));
    char block[65536];
    for (size_t n; (n = std::fread(block, 1, sizeof block, file.get())) > 0;) {
        out->append(block, n);
        if (out->size() > SWAN_SPIECE_MAX_BYTES)
            return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted a SentencePiece model of at most %u bytes, found more", path,
                             SWAN_SPIECE_MAX_BYTES);
    }
    if (std::ferror(file.get())) return SWAN_FAIL(SWAN_E_IO, "%s: %s", path, std::strerror(errno));
    return SWAN_OK;
}

} // namespace

struct swan_tokenizer {
    sentencepiece::SentencePieceProcessor processor;
    swan_spiece_info info;
    std::vector<Special> specials; // control and unknown pieces
    int extra_ids = 0;

    // The special token that text starts with: its id and length, or -1.
    int special_at(const char *text, size_t *length) const
    {
        int id = -1;
        *length = 0;
        for (const Special &special : specials)
            if (special.text.size() > *length && !std::strncmp(text, special.text.c_str(), special.text.size())) {
                id = special.id;
                *length = special.text.size();
            }
        static const char prefix[] = "<extra_id_";
        if (id >= 0 || std::strncmp(text, prefix, sizeof prefix - 1)) return id;
        const char *at = text + sizeof prefix - 1;
        int number = 0, digits = 0;
        for (; *at >= '0' && *at <= '9' && digits < 4; at++, digits++) number = number * 10 + (*at - '0');
        bool canonical = digits > 0 && (digits == 1 || text[sizeof prefix - 1] != '0');
        if (!canonical || *at != '>' || number >= extra_ids) return -1;
        *length = static_cast<size_t>(at + 1 - text);
        return info.pieces + extra_ids - 1 - number;
    }

    swan_status append_text(const char *text, size_t length, std::vector<int> *all) const
    {
        std::vector<int> ids;
        const auto status = processor.Encode(absl::string_view(text, length), &ids);
        if (!status.ok())
            return SWAN_FAIL(SWAN_E_FORMAT, "SentencePiece cannot encode the text: %s", status.ToString().c_str());
        for (int id : ids)
            if (id < 0 || id >= info.pieces)
                return SWAN_FAIL(SWAN_E_FORMAT, "SentencePiece gave id %d of %d", id, info.pieces);
        all->insert(all->end(), ids.begin(), ids.end());
        return SWAN_OK;
    }

    swan_status encode(const char *text, std::vector<int> *ids) const
    {
        const char *start = text, *at = text;
        while (*at) {
            size_t length = 0;
            const int id = special_at(at, &length);
            if (id < 0) {
                at++;
                continue;
            }
            if (at > start) SWAN_TRY(append_text(start, static_cast<size_t>(at - start), ids));
            ids->push_back(id);
            start = at += length;
        }
        return at > start ? append_text(start, static_cast<size_t>(at - start), ids) : SWAN_OK;
    }
};

extern "C" swan_status swan_tokenizer_load(const void *data, size_t size, const char *name, swan_tokenizer **out)
{
    *out = nullptr;
    return guarded(name, [&]() -> swan_status {
        if (sentencepiece::logging::SetMinLogLevel) sentencepiece::logging::SetMinLogLevel(kLogFatal);
        auto tokenizer = std::make_unique<swan_tokenizer>();
        SWAN_TRY(swan_spiece_check(data, size, name, &tokenizer->info));
        const auto status =
            tokenizer->processor.LoadFromSerializedProto(absl::string_view(static_cast<const char *>(data), size));
        if (!status.ok())
            return SWAN_FAIL(SWAN_E_FORMAT, "%s: SentencePiece refuses it: %s", name, status.ToString().c_str());
        const int pieces = tokenizer->processor.GetPieceSize();
        if (pieces != tokenizer->info.pieces)
            return SWAN_BUG("%s: counted %d pieces, SentencePiece %d", name, tokenizer->info.pieces, pieces);
        for (int id = 0; id < pieces; id++)
            if (tokenizer->processor.IsControl(id) || tokenizer->processor.IsUnknown(id))
                tokenizer->specials.push_back({tokenizer->processor.IdToPiece(id), id});
        tokenizer->extra_ids = pieces == kUmt5Pieces ? kUmt5ExtraIds : 0;
        *out = tokenizer.release();
        return SWAN_OK;
    });
}

extern "C" swan_status swan_tokenizer_open(const char *spiece_model_path, swan_tokenizer **out)
{
    *out = nullptr;
    return guarded(spiece_model_path, [&]() -> swan_status {
        std::string bytes;
        SWAN_TRY(read_file(spiece_model_path, &bytes));
        return swan_tokenizer_load(bytes.data(), bytes.size(), spiece_model_path, out);
    });
}

extern "C" void swan_tokenizer_close(swan_tokenizer *tokenizer) { delete tokenizer; }

extern "C" swan_status swan_tokenizer_set_extra_ids(swan_tokenizer *tokenizer, int count)
{
    if (count < 0 || count > kMaxExtraIds)
        return SWAN_FAIL(SWAN_E_INVALID, "extra ids: wanted 0 to %d, found %d", kMaxExtraIds, count);
    tokenizer->extra_ids = count;
    return SWAN_OK;
}

extern "C" int swan_tokenizer_vocab(const swan_tokenizer *tokenizer)
{
    return tokenizer->info.pieces + tokenizer->extra_ids;
}

extern "C" int swan_tokenizer_eos(const swan_tokenizer *tokenizer) { return tokenizer->info.eos; }

extern "C" swan_status swan_tokenizer_encode(const swan_tokenizer *tokenizer, const char *clean_utf8, int32_t *ids,
                                             int max_ids, int *count)
{
    *count = 0;
    if (max_ids < 1) return SWAN_FAIL(SWAN_E_INVALID, "tokens: wanted room for 1 at least, found %d", max_ids);
    const size_t length = std::strlen(clean_utf8), valid = swan_utf8_valid(clean_utf8, length);
    if (valid < length)
        return SWAN_FAIL(SWAN_E_INVALID, "text to tokenise: not valid UTF-8 at byte %zu (0x%02X)", valid,
                         static_cast<unsigned char>(clean_utf8[valid]));
    return guarded("tokens", [&]() -> swan_status {
        std::vector<int> all;
        SWAN_TRY(tokenizer->encode(clean_utf8, &all));
        const size_t kept = all.size() < static_cast<size_t>(max_ids) ? all.size() : static_cast<size_t>(max_ids) - 1;
        for (size_t i = 0; i < kept; i++) ids[i] = all[i];
        ids[kept] = tokenizer->info.eos;
        *count = static_cast<int>(kept) + 1;
        return SWAN_OK;
    });
}
