//! `face1` and `face2`: from base64 to a valid request.

use super::{
    error::ApiError,
    lenient::{Text, decode_base64},
    wire::{CompareBody, face},
};
use crate::compare::{
    BizId, BoundingBox, DecodeLimits, Fmr, FmrSettings, PictureData, PictureKind, Request,
    RequestOptions, SeveralFaces, is_selfie,
};

/// Longest `userId` and `sourceOfFace2`, bytes.
const LONGEST_USER_ID: usize = 64;
const LONGEST_SOURCE: usize = FmrSettings::LONGEST_CODE;

/// Turns the body of `compare` or `asynccompare` into a request. `fmr` is asked for the rate that
/// is in force now, for the code of a document or for a selfie.
///
/// # Errors
/// [`ApiError::Invalid`] or [`ApiError::Picture`] naming the first member that is wrong.
pub(super) fn read_request(
    body: &[u8],
    limits: &DecodeLimits,
    fmr: impl FnOnce(Option<&str>) -> Option<Fmr>,
) -> Result<Request, ApiError> {
    let body = CompareBody::parse(body)?;
    let biz_id = body.biz_id.required("bizId")?;
    let biz_id = BizId::new(biz_id).ok_or_else(|| {
        let why = format!("must have 1 to {} bytes", BizId::MAX_BYTES);
        ApiError::Invalid("bizId", why)
    })?;
    body.user_id.at_most("userId", LONGEST_USER_ID)?;
    let document = document(body.source_of_face2.at_most("sourceOfFace2", LONGEST_SOURCE)?);
    let face1 = face(body.face1, "face1")?;
    let face2 = face(body.face2, "face2")?;
    Ok(Request {
        biz_id,
        probe: picture("face1.content", &face1.content, limits)?,
        reference: picture("face2.content", &face2.content, limits)?,
        options: RequestOptions {
            probe_hint: hint(&face1.rect),
            reference_hint: hint(&face2.rect),
            reference_kind: kind(document),
            fmr: fmr(document),
            several_faces: SeveralFaces::default(),
            trace: None,
        },
    })
}

fn picture(
    field: &'static str,
    content: &Text<'_>,
    limits: &DecodeLimits,
) -> Result<PictureData, ApiError> {
    let bytes = decode_base64(field, content.required(field)?)?;
    PictureData::new(bytes, limits)
        .map_err(|refusal| ApiError::Picture(field, refusal, *limits, None))
}

/// `left,top,width,height`. Never an error: clients send boxes of other pictures, and words.
fn hint(rect: &Text<'_>) -> Option<BoundingBox> {
    let Text::Given(text) = rect else { return None };
    let mut numbers =
        text.split(',').map(|n| n.trim().parse::<f32>().ok().filter(|v| v.is_finite()));
    let (x, y) = (numbers.next()??, numbers.next()??);
    let (width, height) = (numbers.next()??, numbers.next()??);
    let sound = width > 0.0 && height > 0.0 && numbers.next().is_none();
    sound.then(|| BoundingBox::new(x, y, width, height))
}

/// The code of a document. Everything but `SELFIE` is some document; unknown codes are too.
fn document(source: Option<&str>) -> Option<&str> {
    source.map(str::trim).filter(|source| !(source.is_empty() || is_selfie(source)))
}

fn kind(document: Option<&str>) -> PictureKind {
    if document.is_some() { PictureKind::Document } else { PictureKind::Selfie }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: &str = "/9j/4AAQ";

    fn read(json: &str) -> Result<Request, ApiError> {
        read_request(json.as_bytes(), &DecodeLimits::default(), |_| None)
    }

    fn body(extra: &str) -> String {
        format!(
            r#"{{"bizId":"b","face1":{{"content":"{JPEG}"}},"face2":{{"content":"{JPEG}"{extra}}}}}"#
        )
    }

    #[test]
    fn a_request_of_the_documented_form_is_read() {
        let request = read(&body(r#","rect":"1,2,30,40""#)).unwrap();
        assert_eq!(request.options.reference_hint, Some(BoundingBox::new(1.0, 2.0, 30.0, 40.0)));
        assert_eq!(request.options.reference_kind, PictureKind::Selfie);
        assert_eq!(request.probe.as_bytes(), [0xFF, 0xD8, 0xFF, 0xE0, 0x00, 0x10]);
    }

    #[test]
    fn parsing_copies_nothing_but_the_decoded_photos() {
        const PHOTO: usize = 1 << 20;
        let photo = format!("{JPEG}{}", "A".repeat(PHOTO / 3 * 4));
        let json = body("").replace(JPEG, &photo);
        let taken = allocation_counter::measure(|| drop(read(&json).unwrap()));
        assert!(usize::try_from(taken.bytes_total).unwrap() <= 2 * PHOTO + 4_096, "{taken:?}");
    }

    #[test]
    fn a_rect_of_any_kind_is_never_an_error() {
        for rect in [
            "null",
            "\"\"",
            "\"1,2\"",
            "\"a,b,c,d\"",
            "\"9,9,-1,0\"",
            "7",
            "[1]",
            "\"1,2,3,4,5\"",
            "\"NaN,1,2,3\"",
        ] {
            let request = read(&body(&format!(",\"rect\":{rect}"))).unwrap();
            assert_eq!(request.options.reference_hint, None, "{rect}");
        }
    }

    #[test]
    fn every_source_but_a_selfie_is_a_document() {
        for (source, expected) in [
            ("\"SELFIE\"", PictureKind::Selfie),
            ("null", PictureKind::Selfie),
            ("\"\"", PictureKind::Selfie),
            ("\"00000001007\"", PictureKind::Document),
            ("\"x\"", PictureKind::Document),
        ] {
            let json = body("").replacen('{', &format!("{{\"sourceOfFace2\":{source},"), 1);
            assert_eq!(read(&json).unwrap().options.reference_kind, expected, "{source}");
        }
    }

    #[test]
    fn the_rate_is_asked_for_by_the_code_of_the_document() {
        for (source, expected) in [
            ("null", None),
            ("\" selfie \"", None),
            ("\" 00000001007\"", Some("00000001007")),
            ("\"x\"", Some("x")),
        ] {
            let json = body("").replacen('{', &format!("{{\"sourceOfFace2\":{source},"), 1);
            let mut asked = None;
            let request = read_request(json.as_bytes(), &DecodeLimits::default(), |document| {
                asked = Some(document.map(str::to_owned));
                Some(Fmr::MOST)
            });
            assert_eq!(asked, Some(expected.map(str::to_owned)), "{source}");
            assert_eq!(request.unwrap().options.fmr, Some(Fmr::MOST));
        }
    }

    #[test]
    fn the_first_wrong_member_is_named() {
        let cases = [
            ("{}".to_owned(), "bizId"),
            (body("").replace("\"b\"", "\"\""), "bizId"),
            (body("").replace("\"b\"", &format!("\"{}\"", "x".repeat(65))), "bizId"),
            (body("").replace("\"b\"", "7"), "bizId"),
            (body("").replacen('{', &format!("{{\"userId\":\"{}\",", "x".repeat(65)), 1), "userId"),
            (r#"{"bizId":"b","face1":{},"face2":{}}"#.to_owned(), "face1.content"),
            (r#"{"bizId":"b","face1":"x","face2":{}}"#.to_owned(), "face1"),
            (format!(r#"{{"bizId":"b","face1":["{JPEG}"],"face2":{{}}}}"#), "face1"),
            (body("").replacen(JPEG, "not base64!", 1), "face1.content"),
        ];
        for (json, field) in cases {
            let Err(ApiError::Invalid(named, _)) = read(&json) else { panic!("{json}") };
            assert_eq!(named, field, "{json}");
        }
        let gif = read(&body("").replacen(JPEG, "R0lGODlh", 1)).unwrap_err();
        assert!(matches!(
            gif,
            ApiError::Picture("face1.content", crate::compare::Refusal::UnknownFormat { .. }, _, _)
        ));
    }

    #[test]
    fn what_is_not_a_json_object_is_a_parse_error() {
        for json in ["", "[]", "{", "\"x\"", "{\"bizId\":\"b\"}x", "\u{0}"] {
            let error = read(json).unwrap_err();
            assert!(
                matches!(error, ApiError::NotJson(_) | ApiError::EmptyBody),
                "{json}: {error:?}"
            );
        }
    }
}
