# Who may do what. Nobody here may change IAM, or write to the issuer's bucket: that is done with your own credentials, by
# `./lab up --only machines`. A job that could do it could make itself the account's administrator.

locals {
  # This project's jobs: to plan, look at all that is described here. Backups and state cannot be read with it.
  aws_plan_policy = {
    Version = "2012-10-17"
    Statement = concat(local.aws_sees_documents, [
      {
        Sid      = "SeeTheBuckets"
        Effect   = "Allow"
        Action   = ["s3:GetBucket*", "s3:Get*Configuration", "s3:ListBucket", "s3:ListTagsForResource"]
        Resource = [for name in values(local.aws_buckets) : "arn:aws:s3:::${name}"]
      },
      {
        Sid    = "SeeRolesAndUsers"
        Effect = "Allow"
        Action = [
          "iam:GetOpenIDConnectProvider", "iam:GetRole", "iam:GetRolePolicy", "iam:GetUser", "iam:GetUserPolicy",
          "iam:ListAttachedRolePolicies", "iam:ListRolePolicies",
          "rolesanywhere:GetProfile", "rolesanywhere:GetTrustAnchor", "rolesanywhere:ListTagsForResource",
        ]
        Resource = local.aws_login_objects
      },
    ])
  }

  # Everybody reads the issuer's documents; OpenTofu looks at how they are kept, too.
  aws_sees_documents = var.aws_issuer_bucket == "" ? [] : [
    {
      Sid      = "SeeTheDocuments"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:GetObjectAttributes", "s3:GetObjectTagging"]
      Resource = "arn:aws:s3:::${var.aws_issuer_bucket}/*"
    },
  ]

  # And to apply: change how the bucket keeps things. What you add here needs more, which you add there.
  aws_apply_policy = {
    Version = "2012-10-17"
    Statement = concat(local.aws_plan_policy.Statement, [
      {
        Sid      = "KeepTheBucket"
        Effect   = "Allow"
        Action   = ["s3:PutBucketVersioning", "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration"]
        Resource = "arn:aws:s3:::${var.aws_bucket}"
      },
    ])
  }

  # GitLab: add backups, and nothing else. It can neither read, nor overwrite without a trace, nor remove one.
  aws_backup_policy = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "AddBackups"
        Effect   = "Allow"
        Action   = ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObject"]
        Resource = "arn:aws:s3:::${var.aws_bucket}/backups/*"
      },
    ]
  }

  # Other projects' jobs: each its own state.
  aws_state_policies = {
    for project in var.aws_state_projects : project => {
      Version = "2012-10-17"
      Statement = [
        {
          Sid       = "FindTheState"
          Effect    = "Allow"
          Action    = "s3:ListBucket"
          Resource  = "arn:aws:s3:::${var.aws_bucket}"
          Condition = { StringLike = { "s3:prefix" = "state/${project}/*" } }
        },
        {
          Sid      = "KeepTheState"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:PutObject"]
          Resource = "arn:aws:s3:::${var.aws_bucket}/state/${project}/*"
        },
        {
          Sid      = "Unlock"
          Effect   = "Allow"
          Action   = "s3:DeleteObject"
          Resource = "arn:aws:s3:::${var.aws_bucket}/state/${project}/*.tflock"
        },
      ]
    }
  }

  # A project's path as a part of a name: `@` is in no path, so two paths never become one name.
  aws_state_names = { for project in var.aws_state_projects : project => "lab-${var.lab_name}-state-${replace(project, "/", "@")}" }
}

# GitLab runs in your cluster, which AWS knows nothing of: it logs in with an access key, which you make (aws.md).
resource "aws_iam_user" "backup" {
  name = "lab-${var.lab_name}-backup"
}

resource "aws_iam_user_policy" "backup" {
  name   = "add-backups"
  user   = aws_iam_user.backup.name
  policy = jsonencode(local.aws_backup_policy)
}
