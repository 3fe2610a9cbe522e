//! Login codes, against a real HTTP server in place of WeChat.

use identity::wechat::{WechatClient, WechatError, WechatSettings, WechatUser};
use kernel::Failure as _;
use testkit::{WECHAT_SECRET, WechatServer};

fn client(base: &str) -> WechatClient {
    let settings = WechatSettings {
        app_id: "wx0123456789".to_owned(),
        app_secret: WECHAT_SECRET.into(),
        api_base: base.parse().unwrap(),
    };
    WechatClient::new(settings).unwrap()
}

async fn ask(server: &WechatServer, code: &str) -> Result<WechatUser, WechatError> {
    client(&server.url()).user_of(&code.into()).await
}

fn ids(user: &WechatUser) -> Vec<&str> {
    user.user_ids().map(kernel::UserId::as_str).collect()
}

#[tokio::test]
async fn a_code_stands_for_the_unionid_before_the_openid() {
    let server = WechatServer::start().await;
    server.knows("both", r#""openid":"oPen-1","unionid":"uNion_1""#);
    server.knows("open", r#""openid":"oPen-1","errcode":0"#);
    let both = ask(&server, "both").await.unwrap();
    assert_eq!(ids(&both), ["wechat|uNion_1", "wechat|oPen-1"]);
    assert_eq!(both.new_user_id().as_str(), "wechat|uNion_1");
    let open = ask(&server, "open").await.unwrap();
    assert_eq!((ids(&open), open.new_user_id().as_str()), (vec!["wechat|oPen-1"], "wechat|oPen-1"));
    let path = "/sns/jscode2session?appid=wx0123456789";
    let request = format!("{path}&secret={WECHAT_SECRET}&js_code=both&grant_type=authorization_code");
    assert_eq!(server.requests()[0], request);
}

#[tokio::test]
async fn each_code_of_wechat_has_its_answer() {
    let server = WechatServer::start().await;
    for (errcode, error, code, attempts) in [
        (40_029, WechatError::CodeInvalid, "WechatCodeInvalidException", 1),
        (40_163, WechatError::CodeInvalid, "WechatCodeInvalidException", 1),
        (45_011, WechatError::TooFrequent, "RateLimitExceededException", 1),
        (40_226, WechatError::Blocked, "PermissionDeniedException", 1),
        (-1, WechatError::Unavailable, "ProviderUnavailableException", 2),
        (40_125, WechatError::Unavailable, "ProviderUnavailableException", 1),
    ] {
        let before = server.requests().len();
        server.answers("c", &[&format!(r#"{{"errcode":{errcode},"errmsg":"x"}}"#)]);
        assert_eq!(ask(&server, "c").await, Err(error), "{errcode}");
        assert_eq!((error.code(), server.requests().len() - before), (code, attempts), "{errcode}");
    }
}

#[tokio::test]
async fn nonsense_and_lost_connections_are_tried_once_more() {
    let server = WechatServer::start().await;
    let good = r#"{"openid":"o1"}"#;
    let large = format!(r#"{{"openid":"o1","x":"{}"}}"#, "x".repeat(70_000));
    for bad in [
        "",
        "<html>",
        "[]",
        "{}",
        r#"{"openid":""}"#,
        r#"{"openid":"a b"}"#,
        r#"{"openid":5}"#,
        r#"{"errcode":-1}"#,
        &large,
    ] {
        server.answers("c", &[bad, good]);
        assert_eq!(ids(&ask(&server, "c").await.unwrap()), ["wechat|o1"], "{bad:.40}");
        let before = server.requests().len();
        server.answers("c", &[bad]);
        assert_eq!(ask(&server, "c").await, Err(WechatError::Unavailable), "{bad:.40}");
        assert_eq!(server.requests().len() - before, 2, "{bad:.40}");
    }
    let gone = client("http://127.0.0.1:1");
    assert_eq!(gone.user_of(&"c".into()).await, Err(WechatError::Unavailable));
    assert!(!format!("{gone:?}").contains(WECHAT_SECRET));
}

#[tokio::test]
async fn a_code_is_sent_as_it_is() {
    let server = WechatServer::start().await;
    assert_eq!(ask(&server, "a&secret=x#/é").await, Err(WechatError::CodeInvalid));
    assert!(server.requests()[0].contains("&js_code=a%26secret%3Dx%23%2F%C3%A9&grant_type="));
}
