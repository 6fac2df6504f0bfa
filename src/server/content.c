/* The files of a finished video, with ranges and validators. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "server/httpd.h"
#include "server/range.h"

static const struct {
    const char *variant, *file, *type;
} variants[] = {{"video", "video.mp4", "video/mp4"}, {"thumbnail", "thumbnail.jpg", "image/jpeg"}, {"spritesheet", "spritesheet.jpg", "image/jpeg"}};
enum { VARIANTS = sizeof variants / sizeof *variants };

static swan_reply refuse(unsigned status, const char *code, const char *param, const char *message)
{
    swan_api_error e;
    swan_api_fail(&e, status, code, param, "%s", message);
    return swan_reply_error(&e);
}

/* The body is the file itself: never read into memory. Takes over fd. */
static swan_reply part_of(int fd, unsigned status, const swan_range *range)
{
    swan_reply reply = {status, MHD_create_response_from_fd_at_offset64(range->length, fd, range->first)};
    if (!reply.response) close(fd);
    return reply;
}

static swan_reply file_reply(swan_request *r, int fd, uint64_t size, const char *etag)
{
    const char *if_range = swan_request_header(r, "If-Range"), *header = swan_request_header(r, "Range");
    if (if_range && strcmp(if_range, etag) != 0) header = NULL;
    swan_range range = swan_range_parse(header, size);
    swan_reply reply;
    if (swan_range_etag_listed(swan_request_header(r, "If-None-Match"), etag)) {
        close(fd);
        return swan_reply_text(304, "text/plain", "");
    }
    if (range.kind == SWAN_RANGE_UNSATISFIABLE) {
        close(fd);
        reply = refuse(416, "invalid_range", "Range", "Range: begins behind the end of the file");
        swan_reply_header(&reply, "Content-Range", "bytes */%llu", (unsigned long long)size);
        return reply;
    }
    reply = part_of(fd, range.kind == SWAN_RANGE_PART ? 206 : 200, &range);
    if (range.kind == SWAN_RANGE_PART)
        swan_reply_header(&reply, "Content-Range", "bytes %llu-%llu/%llu", (unsigned long long)range.first,
                          (unsigned long long)(range.first + range.length - 1), (unsigned long long)size);
    return reply;
}

swan_reply swan_content_file(swan_request *r, const swan_job *job, const char *variant)
{
    char path[SWAN_PATH_MAX], etag[96];
    int fd, v = 0;
    uint64_t size;
    while (v < VARIANTS && strcmp(variant, variants[v].variant) != 0) v++;
    if (v == VARIANTS) return refuse(400, "invalid_value", "variant", "variant: wanted video, thumbnail or spritesheet");
    if (job->state != SWAN_JOB_COMPLETED)
        return swan_job_is_over(job) ? refuse(404, "no_content", "video_id", "this video was not completed: there is no file")
                                     : refuse(409, "not_completed", "video_id", "this video is not completed yet");
    if (swan_jobs_file(r->http->jobs, job->id, variants[v].file, path) || swan_file_open_read(path, &fd, &size)) return swan_reply_failure();
    snprintf(etag, sizeof etag, "\"%s-%s\"", job->id + 6, variants[v].variant); /* a file never changes under its id */
    swan_reply reply = file_reply(r, fd, size, etag);
    if (reply.status == 416) return reply;
    if (reply.status != 304) swan_reply_header(&reply, "Content-Type", "%s", variants[v].type);
    if (reply.status != 304) swan_reply_header(&reply, "Cache-Control", "private, no-cache");
    swan_reply_header(&reply, "ETag", "%s", etag);
    swan_reply_header(&reply, "Accept-Ranges", "bytes");
    swan_reply_header(&reply, "Content-Disposition", "inline; filename=\"%s-%s\"", job->id, variants[v].file);
    return reply;
}

swan_reply swan_content_answer(swan_request *r)
{
    const char *variant = swan_request_argument(r, "variant");
    swan_job job;
    swan_reply reply = swan_request_job(r, &job);
    if (reply.response) return reply;
    reply = swan_content_file(r, &job, variant ? variant : "video");
    swan_job_free(&job);
    return reply;
}
