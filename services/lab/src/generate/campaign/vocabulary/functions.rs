//! Functions, their triggers, and hosted language models.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{arn, hex, new_name, one, pick, role_name};
use crate::generate::call::Call;
use crate::generate::world::Account;

plain! {
    read list_functions = "lambda" "ListFunctions20150331";
    read list_rules = "events" "ListRules";
    read rest_apis = "apigateway" "GetRestApis";
    read foundation_models = "bedrock" "ListFoundationModels";
    read model_logging = "bedrock" "GetModelInvocationLoggingConfiguration";
    read inference_profiles = "bedrock" "ListInferenceProfiles";
}

const MODELS: &[&str] = &[
    "anthropic.claude-3-5-sonnet-20240620-v1:0",
    "anthropic.claude-3-haiku-20240307-v1:0",
    "amazon.titan-text-express-v1",
    "meta.llama3-70b-instruct-v1:0",
];

calls! {
    read get_function = "lambda" "GetFunction20150331v2" |account, rng| {"functionName": pick(rng, &account.functions)};
    read function_policy = "lambda" "GetPolicy20150331v2" |account, rng| {"functionName": pick(rng, &account.functions)};
    read function_configuration = "lambda" "GetFunctionConfiguration20150331v2" |account, rng| {
        "functionName": pick(rng, &account.functions),
    };
    write create_function[name] = "lambda" "CreateFunction20150331" |account, rng| {
        "functionName": name, "runtime": one(&["python3.12", "nodejs20.x"], rng), "handler": "index.handler",
        "role": format!("arn:aws:iam::{}:role/{}", account.id, role_name(account, rng)), "code": {}, "publish": false,
        "timeout": one(&[3, 30, 900], rng), "memorySize": one(&[128, 512, 1024], rng),
    } => {"functionArn": arn(account, "lambda", &format!("function:{name}")), "state": "Pending", "version": "$LATEST"};
    write update_function[name] = "lambda" "UpdateFunctionCode20150331v2" |account, rng| {
        "functionName": name, "publish": false, "dryRun": false,
    } => {"functionName": name, "codeSize": rng.random_range(900..90_000), "lastUpdateStatus": "InProgress"};
    write configure_function[name] = "lambda" "UpdateFunctionConfiguration20150331v2" |account, rng| {
        "functionName": name, "environment": {}, "layers": [format!("{}:{}", arn(account, "lambda", "layer:common"), rng.random_range(1..9))],
    } => {"functionName": name, "lastUpdateStatus": "InProgress"};
    write permit_function[name, principal] = "lambda" "AddPermission20150331v2" |account, rng| {
        "functionName": name, "action": "lambda:InvokeFunction", "principal": principal, "statementId": new_name(rng),
    } => {"statement": "{}"};
    write function_url[name] = "lambda" "CreateFunctionUrlConfig" |account, rng| {
        "functionName": name, "authType": one(&["AWS_IAM", "NONE"], rng),
    } => {"functionUrl": format!("https://{}.lambda-url.{}.on.aws/", hex(rng, 32), account.regions[0])};
    write invoke[name] = "lambda" "Invoke" |account, rng| {
        "functionName": arn(account, "lambda", &format!("function:{name}")), "invocationType": "RequestResponse",
    } @ "AWS::Lambda::Function" { arn(account, "lambda", &format!("function:{name}")) } + data;
    write put_rule[rule] = "events" "PutRule" |account, rng| {
        "name": rule, "scheduleExpression": one(&["rate(5 minutes)", "rate(1 hour)", "cron(0 3 * * ? *)"], rng), "state": "ENABLED",
    } => {"ruleArn": arn(account, "events", &format!("rule/{rule}"))};
    write put_targets[rule, name] = "events" "PutTargets" |account, rng| {
        "rule": rule, "targets": [{"id": "1", "arn": arn(account, "lambda", &format!("function:{name}"))}],
    } => {"failedEntryCount": 0, "failedEntries": []};
    write create_rest_api = "apigateway" "CreateRestApi" |account, rng| {"createRestApiInput": {"name": new_name(rng)}}
        => {"id": hex(rng, 10), "apiKeySource": "HEADER"};
    write create_deployment = "apigateway" "CreateDeployment" |account, rng| {
        "restApiId": hex(rng, 10), "createDeploymentInput": {"stageName": one(&["prod", "v1"], rng)},
    } => {"id": hex(rng, 6)};
    read model_availability = "bedrock" "GetFoundationModelAvailability" |account, rng| {"modelId": one(MODELS, rng)};
    write model_agreement = "bedrock" "CreateFoundationModelAgreement" |account, rng| {
        "modelId": one(MODELS, rng), "offerToken": "HIDDEN_DUE_TO_SECURITY_REASONS",
    };
    write model_use_case = "bedrock" "PutUseCaseForModelAccess" |account, rng| {"formData": "HIDDEN_DUE_TO_SECURITY_REASONS"};
    read invoke_model = "bedrock" "InvokeModel" |account, rng| {"modelId": one(MODELS, rng)};
    read stream_model = "bedrock" "InvokeModelWithResponseStream" |account, rng| {"modelId": one(MODELS, rng)};
    read converse = "bedrock" "Converse" |account, rng| {"modelId": one(MODELS, rng)};
}
